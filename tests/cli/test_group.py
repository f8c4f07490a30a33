"""What the verbs share: statuses, colour, errors."""

from __future__ import annotations

import errno

import click
import msgspec
import pytest
from click.testing import CliRunner

from pytest_gpuguard.cli import doctor as doctor_module
from pytest_gpuguard.cli.app import main
from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.findings import Findings, fail, ok, warn
from pytest_gpuguard.cli.group import Verbs
from pytest_gpuguard.errors import GuardError
from pytest_gpuguard.ledger.errors import LedgerBusy, LedgerUnsafe


def run(*arguments, **options):
    return CliRunner().invoke(main, arguments, **options)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (LedgerBusy("not had in 2 s"), Exit.BUSY, "GPG304: not had in 2 s"),
        (LedgerUnsafe("is a link"), Exit.UNREADABLE, "GPG306: is a link"),
        (GuardError("GPG501", "cannot be read"), Exit.UNREADABLE, "GPG501: cannot be read"),
        (PermissionError(13, "Permission denied", "/x/y"), Exit.UNREADABLE, "/x/y: Permission denied"),
        (OSError(errno.ENOSPC, "No space left"), Exit.UNREADABLE, "No space left"),
        (OSError(errno.EBADF, "Bad file descriptor"), Exit.BUG, "a fault of pytest-gpuguard"),
        (ZeroDivisionError("oops"), Exit.BUG, "a fault of pytest-gpuguard"),
        (click.UsageError("no such thing"), Exit.USAGE, "no such thing"),
    ],
)
def test_what_went_wrong_becomes_a_status_and_words_on_stderr(error, status, said):
    @click.group(cls=Verbs)
    def group():
        pass

    @group.command()
    def verb():
        raise error

    result = CliRunner().invoke(group, ["verb"])
    assert result.exit_code == status
    assert said in result.stderr
    assert result.stdout == ""


def test_an_unforeseen_error_shows_where_it_came_from():
    @click.group(cls=Verbs)
    def group():
        pass

    @group.command()
    def verb():
        raise ZeroDivisionError

    assert "Traceback" in CliRunner().invoke(group, ["verb"]).stderr


@pytest.mark.parametrize("arguments", [["--no-such"], ["nothing"], ["--color", "pink", "doctor"]])
def test_a_wrong_command_line_is_usage(arguments):
    assert run(*arguments).exit_code == Exit.USAGE


@pytest.mark.parametrize(
    ("choice", "environment", "coloured"),
    [
        ("auto", {}, False),
        ("auto", {"FORCE_COLOR": "1"}, True),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colour_follows_the_switch_then_the_environment_then_the_terminal(
    monkeypatch, choice, environment, coloured
):
    monkeypatch.setattr(doctor_module, "CHECKS", (lambda _where: [ok("this", "is well")],))
    env = {"NO_COLOR": None, "FORCE_COLOR": None} | environment
    result = run("--color", choice, "doctor", env=env)
    assert ("\x1b[" in result.output) == coloured


def with_findings(monkeypatch, *findings):
    monkeypatch.setattr(doctor_module, "CHECKS", (lambda _where: findings,))


def test_the_doctor_says_what_to_do_and_counts(monkeypatch):
    with_findings(
        monkeypatch,
        ok("a", "fine"),
        ok("b", "fine"),
        warn("c", "slow", "hurry"),
        fail("d", "broken", "mend it"),
    )
    result = run("doctor")
    assert result.exit_code == Exit.FINDINGS
    assert result.output.splitlines() == [
        "ok    a: fine",
        "ok    b: fine",
        "warn  c: slow",
        "      do: hurry",
        "fail  d: broken",
        "      do: mend it",
        "2 ok, 1 warning, 1 failure",
    ]


def test_warnings_alone_are_no_failure(monkeypatch):
    with_findings(monkeypatch, warn("c", "slow", "hurry"))
    assert run("doctor").exit_code == Exit.FINE


def test_findings_as_json(monkeypatch):
    findings = [ok("a", "fine"), fail("d", "broken", "mend it")]
    with_findings(monkeypatch, *findings)
    result = run("doctor", "--json")
    assert result.exit_code == Exit.FINDINGS
    assert msgspec.json.decode(result.stdout, type=Findings).findings == findings


def test_the_doctor_on_this_host(tmp_path):
    result = run("doctor", "--budget-dir", str(tmp_path))
    assert result.exit_code == Exit.FINE, result.output
    assert str(tmp_path) in result.output


def test_the_doctor_on_a_folder_that_is_not_there(tmp_path):
    result = run("doctor", "--budget-dir", str(tmp_path / "missing"))
    assert result.exit_code == Exit.FINDINGS
    assert "--gpuguard-budget-dir" in result.output
