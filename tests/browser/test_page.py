"""The page in a real browser: filter, sort, zoom, widths, colours; without script; with hostile names."""

from __future__ import annotations

import pytest

from benchmarks.report import large_run
from pytest_gpuguard.report.html import page
from tests.browser.devtools import Browser, find_chromium
from tests.golden.record import read, read_situation
from tests.helpers.hostile import renamed

CHROMIUM = find_chromium()

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on PATH")


@pytest.fixture(scope="module")
def browser():
    with Browser(CHROMIUM) as started:
        yield started


@pytest.fixture
def shown(browser, tmp_path):
    """Open the page of a record in a desktop's window."""

    def open_(report, width=1240, height=900, **colours):
        (tmp_path / "index.html").write_text(page(report))
        browser.view(width, height, **colours)
        browser.open(tmp_path / "index.html")
        assert browser.complaints() == []
        return browser

    return open_


_TYPE = """
(text => {
  const input = document.querySelector(".filter input");
  input.value = text;
  input.dispatchEvent(new Event("input"));
})
"""
_OUTPUT = 'document.querySelector(".filter output").textContent'
_SECONDS = (
    '[...document.querySelectorAll("#table tbody tr")].map(row => parseFloat(row.cells[3].textContent))'
)
_FOUND = (
    "new Promise(done => setTimeout(() => done(document.querySelectorAll('#table tr.found').length), 100))"
)
_MORE = '[...document.querySelectorAll("button")].find(button => button.textContent === "2700 more").click()'
#: The number of rows, once no more of them are taken out.
_TRIMMED = """
new Promise(done => {
  const table = document.getElementById("table");
  const look = () => document.querySelector(".late + p") ? done(table.rows.length) : setTimeout(look, 20);
  look();
})
"""
_NAMES = '[...document.querySelectorAll("#table tbody tr")].map(row => row.cells[0].textContent)'


def test_the_filter_leaves_what_has_all_words(shown):
    page_ = shown(read_situation("everything"))
    whole = page_.run(_NAMES)
    page_.run(f"{_TYPE}('Small GW')")
    left = page_.run(_NAMES)
    assert left == [name for name in whole if "small" in name]
    assert page_.run(_OUTPUT) == f"{len(left)} of {len(whole)} tests"
    page_.run(f"{_TYPE}('')")
    assert page_.run(_NAMES) == whole


def test_a_click_sorts_and_another_one_turns_it_round(shown):
    page_ = shown(read_situation("everything"))
    page_.run('document.querySelectorAll("#table th")[3].click()')
    falling = page_.run(_SECONDS)
    assert falling == sorted(falling, reverse=True)
    page_.run('document.querySelectorAll("#table th")[3].click()')
    assert page_.run(_SECONDS) == falling[::-1]
    page_.run('document.querySelectorAll("#table th")[0].click()')
    names = page_.run(_NAMES)
    assert names == sorted(names)
    assert page_.run('document.querySelectorAll("#table th")[0].getAttribute("aria-sort")') == "ascending"


def test_the_timeline_is_zoomed_and_taken_back(shown):
    page_ = shown(read_situation("everything"))
    width = 'document.querySelector("svg.timeline").getBoundingClientRect().width'
    whole = page_.run(width)
    page_.run("document.querySelector(\"[data-zoom='2']\").click()")
    assert page_.run(width) == pytest.approx(2 * whole, rel=0.02)
    page_.run("document.querySelector(\"[data-zoom='0']\").click()")
    assert page_.run(width) == pytest.approx(whole, rel=0.02)


def test_a_bar_leads_to_the_row_of_its_test(shown):
    page_ = shown(read_situation("everything"))
    page_.run(f"{_TYPE}('no such test')")
    page_.run('location.hash = document.querySelector("svg.timeline a").getAttribute("href")')
    assert page_.run(_FOUND) == 1


@pytest.mark.parametrize("width", [1240, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_window(shown, width, dark):
    page_ = shown(read_situation("everything"), width, 800, dark=dark)
    assert page_.run("document.documentElement.scrollWidth <= window.innerWidth")
    back = page_.run("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") is not dark


@pytest.mark.parametrize(
    "text",
    ["<script>document.title = 'taken'</script>", '"><img src=x onerror="document.title=\'taken\'">'],
)
def test_names_of_a_suite_run_nothing(shown, text):
    page_ = shown(renamed(read(), text))
    assert page_.run("document.images.length") == 0
    assert page_.run("document.scripts.length") == 2
    assert text in page_.run("document.body.innerText")


def test_of_many_tests_few_rows_are_in_the_document_and_all_can_be_found(shown):
    page_ = shown(large_run(3000))
    assert page_.run(_TRIMMED) == 301
    page_.run(f"{_TYPE}('chunked-2999')")
    assert page_.run(_NAMES)[0].endswith("-chunked-2999]")
    page_.run(f"{_TYPE}('')")
    page_.run(_MORE)
    assert page_.run("document.getElementById('table').rows.length") == 1301


def test_the_page_reads_without_script(tmp_path):
    """In a browser of its own: the switch is for good."""
    with Browser(CHROMIUM) as plain:
        plain.without_script()
        (tmp_path / "index.html").write_text(page(read_situation("everything")))
        plain.view(1240, 900)
        plain.open(tmp_path / "index.html")
        found = plain.call("DOM.getDocument", depth=0)["root"]["nodeId"]
        html = plain.call("DOM.getOuterHTML", nodeId=found)["outerHTML"]
        assert 'class="filter" hidden' in html
        assert html.count("<tr id=") == len(read_situation("everything").tests)
