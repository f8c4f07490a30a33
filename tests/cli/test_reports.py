"""The verbs around reports: what they write, and how they end."""

from __future__ import annotations

import json

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner

from pytest_gpuguard.cli import explain as explain_module
from pytest_gpuguard.cli.app import main
from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.machine import faults_of
from pytest_gpuguard.errors import CATALOGUE
from pytest_gpuguard.report.build import encode
from pytest_gpuguard.report.places import PLACE, REPORT
from tests.golden.record import HERE, read

REPLACE = msgspec.structs.replace


def _keep(cache, number, report):
    folder = cache / PLACE / f"20260101-000000-{number:06}-aaaaaa"
    folder.mkdir(parents=True)
    (folder / REPORT).write_bytes(encode(report))
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with two runs: the recorded one, and the same with its first leak mended."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "GPUGUARD_BASELINE"):
        monkeypatch.delenv(name, raising=False)
    report = read()
    _keep(tmp_path / ".pytest_cache", 1, report)
    verdict = REPLACE(report.verdict, leaks=report.verdict.leaks - 1)
    _keep(tmp_path / ".pytest_cache", 2, REPLACE(report, groups=report.groups[1:], verdict=verdict))
    return tmp_path / ".pytest_cache"


def _call(*args, status=Exit.FINE):
    result = CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


# report


@pytest.mark.usefixtures("cache")
def test_the_last_run_is_shown_as_the_terminal_showed_it():
    expected = (HERE / "default.txt").read_text()
    shown = _call("report", "last~1").stdout
    assert shown.replace("\n\n", "\n").startswith(expected.splitlines()[0])
    for line in expected.splitlines():
        assert line in shown


@pytest.mark.usefixtures("cache")
def test_the_nearest_cache_above_is_taken(tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert "leaks left by" in _call("report").stdout


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("form", "begins"),
    [("html", "<!doctype html>"), ("json", "{"), ("markdown", "### gpuguard"), ("trace", "{")],
)
def test_every_form_goes_to_a_file_and_to_standard_output(form, begins, tmp_path):
    shown = _call("report", "--format", form).stdout
    assert shown.startswith(begins)
    written = _call("report", "--format", form, "-o", tmp_path / "it")
    assert written.stdout == ""
    assert (tmp_path / "it").read_text() == shown
    if form in {"json", "trace"}:
        json.loads(shown)


@pytest.mark.usefixtures("cache")
def test_json_is_what_the_schema_says_and_can_be_shown_again(tmp_path):
    shown = _call("report", "--json").stdout
    jsonschema.validate(json.loads(shown), json.loads(_call("schema", "report").stdout))
    (tmp_path / "again.json").write_text(shown)
    assert _call("report", tmp_path / "again.json").stdout == _call("report").stdout


@pytest.mark.parametrize("form", ["text", "html", "json", "markdown", "trace"])
def test_names_that_the_terminal_cannot_write_are_written_all_the_same(form, cache):
    report = read()
    foreign = encode(report).replace(report.tests[0].nodeid.encode(), "t.py::test_\u65e5".encode())
    (cache / "foreign.json").write_bytes(foreign)
    runner = CliRunner(charset="latin-1")
    result = runner.invoke(main, ["report", "-vv", "-f", form, str(cache / "foreign.json")])
    assert result.exit_code == Exit.FINE, result.output
    name = b"test_\\u65e5" if form == "text" else "test_\u65e5".encode()
    assert name in result.stdout_bytes or form in {"html", "markdown"}


@pytest.mark.usefixtures("cache")
def test_check_ends_with_one_where_a_leak_is_not_tolerated(tmp_path):
    assert "leaks left" in _call("report", "--check", status=Exit.FINDINGS).stdout
    report = read()
    (tmp_path / "clean.json").write_bytes(
        encode(REPLACE(report, groups=[], verdict=REPLACE(report.verdict, leaks=0)))
    )
    _call("report", tmp_path / "clean.json", "--check")


@pytest.mark.usefixtures("cache")
def test_colour_is_for_terminals_and_whoever_asks(monkeypatch):
    assert "\x1b" not in _call("report").stdout
    assert "\x1b[" in _call("--color", "always", "report").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in _call("report").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in _call("report").stdout


def test_without_runs_it_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = _call("report", status=Exit.NOTHING)
    assert "run pytest with --gpuguard first" in result.stderr
    assert result.stdout == ""


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ('{"schema_version": 99}', "schema version 99"),
        ("<html></html>", "carries no record"),
    ],
)
def test_what_cannot_be_read_ends_with_four(text, said, tmp_path):
    (tmp_path / "it").write_text(text)
    assert said in _call("report", tmp_path / "it", status=Exit.UNREADABLE).stderr


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("args", [["report", "--format", "pdf"], ["diff"], ["report", "--no-such"], ["nope"]])
def test_a_wrong_command_line_ends_with_two(args):
    assert "Usage:" in _call(*args, status=Exit.USAGE).stderr


def test_a_fault_of_our_own_ends_with_seventy(cache, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("pytest_gpuguard.report.text.section_lines", broken)
    assert "fault of pytest-gpuguard" in _call("report", "--cache", cache, status=Exit.BUG).stderr


# diff


@pytest.mark.usefixtures("cache")
def test_what_is_gone_is_said_and_is_no_finding():
    shown = _call("diff", "last~1", "last").stdout
    assert shown.startswith("GONE   thread WritebackWatcher._run, 3 -> 0 times")
    assert shown.splitlines()[-1] == "1 gone"


@pytest.mark.usefixtures("cache")
def test_what_is_new_is_a_finding():
    shown = _call("diff", "last", "last~1", status=Exit.FINDINGS).stdout
    assert shown.startswith("NEW    thread WritebackWatcher._run")


@pytest.mark.usefixtures("cache")
def test_between_two_equal_runs_nothing_is_said():
    result = _call("diff", "last", "last")
    assert result.output == ""
    assert _call("diff", "-v", "last", "last").stdout.count("SAME") == 3


@pytest.mark.usefixtures("cache")
def test_more_of_the_same_is_worse_and_fewer_are_better(tmp_path):
    report = read()
    one = report.groups[0]
    fewer = REPLACE(one, totals=REPLACE(one.totals, occurrences=1))
    (tmp_path / "few.json").write_bytes(encode(REPLACE(report, groups=[fewer])))
    (tmp_path / "many.json").write_bytes(encode(REPLACE(report, groups=[one])))
    worse = _call("diff", tmp_path / "few.json", tmp_path / "many.json", status=Exit.FINDINGS).stdout
    assert "WORSE  thread WritebackWatcher._run, 1 -> 3 times" in worse
    assert "BETTER" in _call("diff", tmp_path / "many.json", tmp_path / "few.json").stdout


@pytest.mark.usefixtures("cache")
def test_what_did_not_run_again_is_not_said_to_be_gone(tmp_path):
    (tmp_path / "none.json").write_bytes(encode(REPLACE(read(), groups=[], tests=[])))
    shown = _call("diff", "last~1", tmp_path / "none.json").stdout
    assert "GONE" not in shown
    assert "none of the tests that left it passed, or its kind was not watched" in shown


@pytest.mark.usefixtures("cache")
def test_what_was_not_watched_is_not_said_to_be_gone(tmp_path):
    (tmp_path / "other.json").write_bytes(encode(REPLACE(read(), groups=[], probes=[])))
    assert "GONE" not in _call("diff", "last~1", tmp_path / "other.json").stdout


@pytest.mark.usefixtures("cache")
def test_a_difference_is_data_too():
    found = json.loads(_call("diff", "last~1", "last", "--json").stdout)
    assert {change["status"] for change in found["changes"]} == {"gone", "same"}


# baseline


@pytest.mark.usefixtures("cache")
def test_accept_list_and_prune():
    accepted = _call("baseline", "accept", "--all", "--run", "last~1", "--reason", "old", "--issue", "#4")
    assert accepted.stdout.count("accepted  ") == 4
    shown = _call("baseline", "list").stdout
    assert shown.count("old (#4), since ") == 4
    assert len(json.loads(_call("baseline", "list", "--json").stdout)["leaks"]) == 4
    assert _call("baseline", "prune", "--dry-run").stdout.startswith("would drop  9a902dd8")
    assert _call("baseline", "prune").stdout.startswith("dropped  9a902dd8")
    assert "9a902dd8" not in _call("baseline", "list").stdout
    assert _call("baseline", "prune").stdout == ""


@pytest.mark.usefixtures("cache")
def test_one_leak_is_accepted_by_the_beginning_of_its_fingerprint():
    _call("baseline", "accept", "9a90", "--run", "last~1", "--reason", "one")
    _call("baseline", "accept", "fdd2", "--run", "last~1", "--reason", "another")
    _call("baseline", "accept", "9a90", "--run", "last~1", "--reason", "one again")
    shown = _call("baseline", "list").stdout
    assert (shown.count("since"), shown.count("one again")) == (2, 1)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["9a90", "--all", "--reason", "x"], "name the fingerprints"),
        (["--reason", "x"], "name the fingerprints"),
        (["--all"], "--reason"),
        (["--all", "--reason", " "], "a reason is wanted"),
        (["zzzz", "--reason", "x"], "no leaks of run"),
        (["", "--reason", "x"], "no leaks of run"),
        (["--all", "--reason", "x", "--until", "May"], "--until"),
        (["--all", "--reason", "x", "--until", "2020-01-01"], "2020-01-01 is over"),
    ],
)
def test_what_cannot_be_accepted_is_a_usage_error_and_writes_nothing(args, said, tmp_path):
    assert said in _call("baseline", "accept", *args, status=Exit.USAGE).stderr
    assert not (tmp_path / "gpuguard-baseline.json").exists()


@pytest.mark.usefixtures("cache")
def test_entries_whose_time_is_over_are_findings_and_can_be_dropped(tmp_path):
    _call("baseline", "accept", "--all", "--reason", "x", "--until", "2999-01-01")
    file = tmp_path / "gpuguard-baseline.json"
    file.write_text(file.read_text().replace("2999", "2020"))
    assert "EXPIRED 2020-01-01" in _call("baseline", "list", "--check", status=Exit.FINDINGS).stdout
    _call("baseline", "list")
    pruned = _call("baseline", "prune", "--expired")
    assert pruned.stdout.count("dropped") == 3
    assert pruned.stderr == "gpuguard-baseline.json: 3 of 3 dropped\n"
    _call("baseline", "list", "--check")


@pytest.mark.usefixtures("cache")
def test_a_baseline_that_is_missing_or_broken_has_its_own_status(tmp_path):
    assert "baseline accept" in _call("baseline", "list", status=Exit.NOTHING).stderr
    assert "nothing is accepted" in _call("baseline", "list", "--check").stderr
    named = _call("baseline", "list", "--check", "--file", "mine.json", status=Exit.NOTHING)
    assert "there is no baseline mine.json" in named.stderr
    (tmp_path / "gpuguard-baseline.json").write_text("{")
    for args in (["list"], ["prune"], ["accept", "--all", "--reason", "x"]):
        assert "GPG502" in _call("baseline", *args, status=Exit.UNREADABLE).stderr
    assert (tmp_path / "gpuguard-baseline.json").read_text() == "{"


@pytest.mark.usefixtures("cache")
def test_a_baseline_is_what_its_schema_says(tmp_path):
    _call("baseline", "accept", "--all", "--reason", "x")
    plain = json.loads((tmp_path / "gpuguard-baseline.json").read_text())
    jsonschema.validate(plain, json.loads(_call("schema", "baseline").stdout))


# explain, schema, completion


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_is_explained_by_its_page(code):
    shown = _call("explain", code.lower()).stdout
    assert CATALOGUE[code].sentence in shown
    assert "What it means." in shown


def test_without_the_pages_the_sentence_and_the_hint_are_left(monkeypatch):
    monkeypatch.setattr(explain_module, "_PLACES", ())
    shown = _call("explain", "101").stdout
    assert CATALOGUE["GPG101"].sentence in shown
    assert CATALOGUE["GPG101"].hint in shown


def test_the_codes_are_listed_and_an_unknown_one_is_nothing():
    assert _call("explain").stdout.count("GPG") >= len(CATALOGUE)
    assert "no code 'GPG999'" in _call("explain", "GPG999", status=Exit.NOTHING).stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_completed(shell):
    shown = _call("completion", shell).stdout
    assert "_GPUGUARD_COMPLETE" in shown
    assert "gpuguard" in shown


def test_every_verb_says_what_it_does():
    for name, command in main.commands.items():
        assert _call(name, "--help").stdout.startswith("Usage: "), name
        assert command.help or command.short_help


# doctor


@pytest.mark.parametrize(
    ("found", "number"),
    [
        ({"pytest": "9.2.0", "pytest-xdist": "3.8.0"}, 2),
        ({"pytest": "9.1.1", "pytest-xdist": "3.8.0"}, 1),
        ({"pytest": "9.2.0", "pytest-xdist": "3.9.0"}, 0),
        ({"pytest": "9.2.0", "pytest-xdist": None}, 0),
        ({}, 0),
    ],
)
def test_known_faults_are_those_of_the_versions_that_have_them(found, number):
    findings = list(faults_of(found))
    assert len(findings) == number
    assert all(finding.do for finding in findings)
