"""Step summary and annotations: within GitHub's limits, and harmless whatever a suite calls its things."""

from __future__ import annotations

import re

import msgspec
import pytest

from pytest_gpuguard.report.annotations import annotate
from pytest_gpuguard.report.markdown import step_summary
from tests.golden.record import read
from tests.helpers.hostile import renamed

REPLACE = msgspec.structs.replace


def _many(number):
    report = read()
    one = report.groups[0]
    groups = [
        REPLACE(one, fingerprint=f"v1:{n:016x}", suspect=REPLACE(one.suspect, line=n + 1))
        for n in range(number)
    ]
    return REPLACE(report, groups=groups, verdict=REPLACE(report.verdict, leaks=number))


def test_nine_of_a_kind_and_one_for_the_rest():
    found = annotate(_many(30))
    errors = [line for line in found if line.startswith("::error ")]
    assert len(errors) == 10
    assert errors[-1] == "::error title=gpuguard::and 21 more, see the summary"
    assert errors[0].startswith("::error file=solver.py,line=1,title=GPG101 new leak::thread Writeback")


def test_nine_leaks_need_no_word_on_the_rest():
    assert not [line for line in annotate(_many(9)) if "more, see" in line]


def test_known_leaks_are_not_annotated():
    report = read()
    known = [REPLACE(group, status="known") for group in report.groups]
    assert not [line for line in annotate(REPLACE(report, groups=known)) if line.startswith("::error")]


def test_a_suspect_outside_of_the_checkout_has_no_line():
    report = read()
    one = report.groups[0]
    outside = REPLACE(one, suspect=REPLACE(one.suspect, file="<site>/lib.py"))
    assert annotate(REPLACE(report, groups=[outside]))[0].startswith("::error title=GPG101 new leak::")


@pytest.mark.parametrize(
    "text", ["a,b:c%d", "x\n::error::injected", "x\r\n::set-output name=a::b", "\x1b[31m"]
)
def test_an_annotation_is_one_command_on_one_line(text):
    for line in annotate(renamed(read(), text)):
        assert re.match(r"::(error|warning) ", line)
        assert line.isprintable()
        properties, _, _ = line.partition(" ")[2].partition("::")
        for entry in properties.split(","):
            assert re.fullmatch(r"(file|line|title)=[^:,]*", entry), line


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "a|b", "``` x", "[a](javascript:alert(1))", "@everyone #1", "`<b>` `"],
)
def test_names_are_no_markdown(text):
    said = step_summary(renamed(read(), text))
    outside = re.sub(r"(`{3,})text\n.*?\n\1", "", said, flags=re.DOTALL)
    # What stands in an HTML block is no markdown; elsewhere code and escapes take the edge off.
    outside = re.sub(r"^<details>.*$", "", outside, flags=re.MULTILINE)
    without_code = re.sub(r"(?<!\\)`[^`\n]*`", "", outside)
    assert not re.search(r"<(?!/?(?:details|summary)>)", without_code)
    assert "](javascript" not in without_code
    assert not re.search(r"(?<!\\)@everyone", without_code)
    header = next(line for line in said.splitlines() if line.startswith("| |"))
    for line in said.splitlines():
        if line.startswith("| new"):
            assert len(re.findall(r"(?<!\\)\|", line)) == header.count("|")


def test_the_summary_keeps_within_the_limit_and_says_what_was_left_out():
    report = _many(400)
    stack = report.groups[0].leaks[0].created * 2000
    deep = [REPLACE(group, leaks=[REPLACE(group.leaks[0], created=stack)]) for group in report.groups]
    said = step_summary(REPLACE(report, groups=deep))
    assert len(said.encode()) < 1_000_000
    assert "left out" in said
    assert "and 200 more, all in report.json" in said


def test_a_fence_is_longer_than_those_in_the_text():
    said = step_summary(renamed(read(), "````"))
    assert "`````text" in said


def test_a_quiet_run_is_said_in_one_line():
    report = read()
    verdict = REPLACE(report.verdict, **dict.fromkeys(msgspec.structs.asdict(report.verdict), 0))
    quiet = REPLACE(report, groups=[], deaths=[], stalls=[], verdict=verdict)
    assert step_summary(quiet).startswith("### gpuguard: nothing that wants looking at\n")
    assert annotate(quiet) == []
