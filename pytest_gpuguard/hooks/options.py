"""Every switch as one table: ``--gpuguard-NAME``, ``GPUGUARD_NAME`` and ini ``gpuguard_NAME``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import pytest

__all__ = ["OPTIONS", "Option", "register"]

Kind = Literal["amount", "amounts", "choice", "devices", "duration", "file", "flag", "kinds", "name", "path"]

_METAVARS = {
    "amount": "SIZE",
    "amounts": "NAME=SIZE,...",
    "devices": "auto|isolate|none|LIST",
    "duration": "TIME",
    "file": "FILE",
    "kinds": "KIND,...",
    "name": "NAME",
    "path": "DIR",
}


class Option(NamedTuple):
    """One switch.

    Attributes
    ----------
    name
        As on the command line, without its prefix.
    kind
        How its value is read.
    default
        As a user would write it; None when unset means off.
    """

    name: str
    kind: Kind
    default: str | None
    help: str
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The command line's spelling."""
        return f"--gpuguard-{self.name}"

    @property
    def dest(self) -> str:
        """The spelling in ini files, and of the parsed option."""
        return f"gpuguard_{self.name.replace('-', '_')}"

    @property
    def variable(self) -> str:
        """The environment's spelling."""
        return self.dest.upper()


OPTIONS = (
    Option(
        "leaks",
        "choice",
        "report",
        "what a leak does: off (nothing is watched), report (letter L, exit code untouched), "
        "error (the test gets an error as well; leaks of wider scopes make the run fail)",
        ("off", "report", "error"),
    ),
    Option(
        "leak-kinds",
        "kinds",
        "thread,process,pinned,device,stream,event,shm",
        "what is watched; also fd and memory, which cost more, and all",
    ),
    Option("referrers", "flag", "false", "name who keeps a leaked object alive (costly)"),
    Option("settle", "duration", "2s", "longest time that a suspect may take to go"),
    Option("reap", "flag", "false", "after reporting, stop what leaked, so that the rest of the run goes on"),
    Option(
        "thread-death",
        "choice",
        "fail",
        "a background thread ended with an exception and its test waits for it: "
        "fail (the wait is broken after the settle time), report",
        ("report", "fail"),
    ),
    Option("stall", "duration", "300s", "a test without progress for so long gets a dossier with all stacks"),
    Option("stall-end", "duration", "30min", "a test without progress for so long is ended; 0: never"),
    Option(
        "budget",
        "amounts",
        None,
        "what the tests of all runs may hold in all, such as pinned=2GiB,gpu=8GiB (each device); "
        "by default from the memory of the host",
    ),
    Option("budget-dir", "path", None, "where budgets live; runs with the same folder share them: /tmp"),
    Option("pool", "name", "host", "name of the budget in that folder"),
    Option("wait", "duration", "300s", "longest wait for a lease while nobody ahead gets any further"),
    Option(
        "oversize",
        "choice",
        None,
        "a test that asks for more than there ever is: fail (default for a budget that was set) or "
        "skip (default for a derived one)",
        ("fail", "skip"),
    ),
    Option("context", "amount", "512MiB", "device memory for the CUDA context of a worker"),
    Option(
        "scheduler",
        "choice",
        "auto",
        "who sends tests to workers: auto (gpuguard, where tests have needs or groups), off (xdist)",
        ("auto", "off"),
    ),
    Option(
        "group-by",
        "choice",
        "none",
        "which tests had better run in one worker: session-params (those with the same parameters of session "
        "fixtures), none",
        ("none", "session-params"),
    ),
    Option("profile", "file", None, "file for marks that say what tests were measured to use"),
    Option("baseline", "file", None, "file of known leaks, kept by `gpuguard baseline`"),
    Option(
        "devices",
        "devices",
        "auto",
        "which devices each worker sees: auto (its own first, the others behind it), isolate (its own), none "
        "(what the caller sees), or a list of indexes into the caller's and of uuids, handed out as by auto",
    ),
    Option(
        "require",
        "choice",
        "none",
        "gpu: fail a run in which a test was skipped for want of a device, or none used a real one",
        ("none", "gpu"),
    ),
    Option("report", "path", None, "folder for report.json and stacks (under CI: .gpuguard)"),
)


def register(parser: pytest.Parser) -> None:
    """Register every switch; whether the plugin is active is asked by ``--gpuguard`` or ini ``gpuguard``."""
    group = parser.getgroup("gpuguard", "guard of CUDA suites")
    group.addoption("--gpuguard", action="store_true", default=None, dest="gpuguard", help="watch this run")
    group.addoption(
        "--no-gpuguard", action="store_false", dest="gpuguard", help="do not, whatever else says so"
    )
    parser.addini("gpuguard", "watch every run (as --gpuguard)", type="bool", default=None)
    # Read by pytest itself: config.get_verbosity("gpuguard").
    about = "verbosity of the gpuguard section alone (default: auto, as pytest's)"
    parser.addini("verbosity_gpuguard", about, default="auto")
    for option in OPTIONS:
        default = f" (default: {option.default})" if option.default not in {None, "false"} else ""
        if option.kind == "flag":
            group.addoption(
                option.flag, action="store_true", default=None, dest=option.dest, help=option.help
            )
            parser.addini(option.dest, option.help, type="bool", default=None)
        else:
            metavar = "|".join(option.choices) or _METAVARS[option.kind]
            group.addoption(
                option.flag, default=None, dest=option.dest, metavar=metavar, help=option.help + default
            )
            parser.addini(option.dest, option.help + default, default=None)
