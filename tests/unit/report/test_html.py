"""The page: complete without script, harmless whatever a suite calls its things, and the record itself."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import msgspec
import pytest

from pytest_gpuguard.report.html import page, record_in
from pytest_gpuguard.report.model import Levels, RunReport, TestSpan, Wait
from pytest_gpuguard.report.runs import load
from pytest_gpuguard.report.timeline import timeline
from tests.golden.record import read, read_situation
from tests.helpers.hostile import renamed

REPLACE = msgspec.structs.replace
VOID = {"meta", "input", "br", "link"}
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\" onmouseover='alert(1)' x=\"",
    "a\x00b\x1b[31m\u202e & &lt;",
    "{{ 7 * 7 }}{% raw %}",
    "--></style><svg onload=alert(1)>",
    "w" * 3000,
]


class Reader(HTMLParser):
    """What a browser sees: elements, attributes, texts."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.attributes, self.texts, self.scripts = [], [], [], []
        self._in = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):  # noqa: D102
        self.elements.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self._in.append(tag)

    def handle_endtag(self, tag):  # noqa: D102
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data):  # noqa: D102
        where = self._in[-1] if self._in else ""
        (self.scripts if where in {"script", "style"} else self.texts).append(data)

    @property
    def text(self):
        """All that is shown."""
        return " ".join(" ".join(self.texts).split())


PLAIN = Reader(page(read()))


@pytest.mark.parametrize("text", HOSTILE)
def test_names_stay_text(text):
    seen = Reader(page(renamed(read(), text)))
    assert seen.elements.count("script") == 2
    assert set(seen.elements) <= set(PLAIN.elements) | {
        "circle",
        "marker",
        "path",
        "ul",
        "li",
        "h3",
        "article",
    }
    assert not {name for _, name, _ in seen.attributes if name.startswith("on") or name == "style"}
    assert not {value for _, name, value in seen.attributes if name == "src"}
    hrefs = {value for _, name, value in seen.attributes if name == "href"}
    assert all(re.fullmatch(r"#[\w-]+", href) for href in hrefs)
    shown = "".join(char if char.isprintable() else "?" for char in text)
    assert " ".join(shown.split()) in seen.text
    assert "\x1b" not in page(renamed(read(), text))


def test_the_policy_lets_in_our_own_style_and_script_and_nothing_else():
    text = page(read())
    (policy,) = [
        value
        for tag, name, value in PLAIN.attributes
        if (tag, name) == ("meta", "content") and "src" in value
    ]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        body = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[-1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_all_that_matters_is_there_without_script():
    text = PLAIN.text
    for wanted in (
        "4 leaks left by 5 tests and 1 module",
        "returns a ChunkedSolver and nobody closes it",
        "WritebackWatcher.start",
        "RuntimeError: CUDA_ERROR_LAUNCH_FAILED",
        "test_makes_no_progress: no progress for",
        "test_chunks.py::test_shape[f4]",
        "Paste this into an issue",
    ):
        assert wanted in text
    body = page(read()).partition('<script type="application/gzip"')[0]
    assert "http" not in body.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_bars_lead_to_their_rows_and_rows_are_there():
    ids = {value for _, name, value in PLAIN.attributes if name == "id"}
    hrefs = {value.removeprefix("#") for _, name, value in PLAIN.attributes if name == "href"}
    assert hrefs
    assert hrefs <= ids


def test_the_page_is_the_record(tmp_path):
    (tmp_path / "index.html").write_text(page(read()))
    assert load(tmp_path / "index.html") == read()
    assert record_in(b"<html></html>") is None
    whole = page(read())
    start = whole.index('id="record">') + len('id="record">')
    for at in (0, 400):  # in the head of what is compressed, and in the midst of it
        broken = whole[: start + at] + "AAAA" + whole[start + at :]
        assert record_in(broken.encode()) is None


@pytest.mark.parametrize(
    ("end", "said"),
    [("cut off", "was cut off after"), ("running", "goes on"), ("interrupted", "was interrupted")],
)
def test_a_run_without_an_end_says_so_on_top(end, said):
    report = read()
    assert said in Reader(page(REPLACE(report, run=REPLACE(report.run, end=end)))).text
    assert said not in PLAIN.text


def _run(tests, **changes) -> RunReport:
    report = read()
    nothing = REPLACE(report, groups=[], deaths=[], stalls=[], tests=tests)
    return REPLACE(nothing, **changes)


def test_a_run_without_tests_is_a_page_too():
    text = page(_run([]))
    assert "svg class" not in text.replace('xmlns="http://www.w3.org/2000/svg" ', "")
    assert "0 tests" not in text or "nothing" in text


def test_waits_are_hatched_and_the_budget_is_a_line():
    report = _run(
        [TestSpan("t.py::a", "gw0", 1.0, 2.0, "passed")],
        waits=[Wait("t.py::a", "gw0", {"pinned": 5}, 0.2, 1.0, "granted", ["gw1 t.py::b"])],
        levels=[Levels("gw0", "pinned", [1.0, 2.0], [5, 0])],
        limits={"pinned": 10},
    )
    picture = str(timeline(report))
    assert 'fill="url(#hatch)"' in picture
    assert "waited 0.80 s: granted" in picture
    assert "pinned: peak 5 B of 10 B" in picture
    assert "stroke-dasharray" in picture


def test_many_short_tests_are_merged_and_those_to_look_at_are_not():
    spans = [TestSpan(f"t.py::t{n}", f"gw{n % 4}", n * 0.01, n * 0.01 + 0.01, "passed") for n in range(9000)]
    spans[4000] = TestSpan("t.py::bad", "gw0", 40.0, 40.01, "failed", ["gw0-1"])
    picture = str(timeline(_run(spans)))
    assert picture.count("<title>") < 20
    assert "bad: failed" in picture
    assert len(picture) < 300_000


def test_failed_bars_differ_from_others_by_more_than_a_colour():
    report = read_situation("everything")
    picture = timeline(report)
    failed = [span for span in report.tests if span.outcome == "failed"]
    assert failed
    assert picture.count('fill="url(#failed)"') == len(failed)
    assert '<pattern id="failed"' in picture
