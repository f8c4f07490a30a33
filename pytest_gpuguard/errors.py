"""The catalogue of GPGnnn codes: one sentence and one hint each.

Numbers are never reused: ``1xx`` threads and what else
the host has, ``2xx`` buffers, streams and events, ``3xx`` budget, ``4xx`` device,
``5xx`` configuration, ``6xx`` stalls, ``9xx`` our own faults.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CATALOGUE", "Code", "GuardError"]


class Code(NamedTuple):
    """One entry of the catalogue."""

    number: str
    sentence: str
    hint: str


CATALOGUE: dict[str, Code] = {
    code.number: code
    for code in (
        Code(
            "GPG101",
            "a thread outlived the scope that started it",
            "stop it where its scope ends: yield from the fixture and close the owner afterwards",
        ),
        Code(
            "GPG102",
            "a native thread outlived the scope in which it appeared",
            "end it through the library that started it, or load that library before the tests begin",
        ),
        Code(
            "GPG103",
            "a child process outlived the scope that started it, or ended and nobody waited for it",
            "terminate it and wait for it where its scope ends",
        ),
        Code(
            "GPG104",
            "a shared memory segment outlived the scope that created it",
            "close and unlink it where its scope ends: a segment stays when all its processes have ended",
        ),
        Code(
            "GPG105",
            "a file, socket or pipe was left open by the scope that opened it",
            "close it where its scope ends, best by a `with` block",
        ),
        Code(
            "GPG106",
            "host memory outside of Python's own objects grew and stayed",
            "free it where its scope ends; caches that are meant to stay belong into a wider fixture",
        ),
        Code(
            "GPG110",
            "a background thread ended with an exception while its test waited for it",
            "mend the exception shown as the cause; hand errors of the thread to whoever waits for it",
        ),
        Code(
            "GPG201",
            "page-locked host memory outlived the scope that made it",
            "free it where its scope ends; the host has only so much of it, for all workers together",
        ),
        Code(
            "GPG202",
            "device memory outlived the scope that made it",
            "drop the last reference where its scope ends, or close the owner that keeps it",
        ),
        Code(
            "GPG203",
            "a stream outlived the scope that made it",
            "drop the last reference where its scope ends, or make it in a fixture of a wider scope",
        ),
        Code(
            "GPG204",
            "an event outlived the scope that made it",
            "drop the last reference where its scope ends, or make it in a fixture of a wider scope",
        ),
        Code(
            "GPG301",
            "a claim on the budget ran out of patience",
            "see who holds and who is ahead; lower the demand, or wait longer where that is expected",
        ),
        Code(
            "GPG302",
            "a claim on the budget would have waited for ever, and was refused at once",
            "claim the whole amount in one piece before anything is held",
        ),
        Code(
            "GPG303",
            "a claim is larger than the whole budget",
            "lower the demand, or raise the budget where this much really is there",
        ),
        Code(
            "GPG304",
            "the shared state of the budget was busy for its whole, bounded, waiting time",
            "its holder is named where it can be seen; let it go on (SIGCONT) or end it",
        ),
        Code(
            "GPG305",
            "files of the budget were deleted while runs use them",
            "end the runs that still use them, then start anew; or use another pool",
        ),
        Code(
            "GPG306",
            "a folder or file of the budget is not ours alone",
            "remove what was put there, or choose another folder with --gpuguard-budget-dir",
        ),
        Code(
            "GPG307",
            "locks do not exclude on this platform or file system; one claim at a time holds the whole pool",
            "choose a folder on a local file system (ext4, xfs, btrfs, tmpfs, overlayfs, zfs)",
        ),
        Code(
            "GPG308",
            "a test used more than it had claimed",
            "raise the amount of the mark on the line that is named, or free what is no longer needed",
        ),
        Code(
            "GPG401",
            "a device is there, and lets this process make no context",
            "see who uses it with `nvidia-smi`; in EXCLUSIVE_PROCESS mode run one worker for each device",
        ),
        Code(
            "GPG402",
            "there are more workers than devices, and a device that would be shared takes one process alone",
            "run one worker for each device, or set its compute mode to DEFAULT",
        ),
        Code(
            "GPG403",
            "a CUDA error stayed: nothing in its process can use CUDA any more",
            "mend the kernel or the access that the error names; `compute-sanitizer` finds its line",
        ),
        Code(
            "GPG404",
            "device memory ran out",
            "see who had it at that moment; mark what tests need, and free what earlier tests left behind",
        ),
        Code(
            "GPG405",
            "page-locked host memory ran out",
            "see who had it at that moment; mark what tests need, and free what earlier tests left behind",
        ),
        Code(
            "GPG406",
            "a device was required, and tests were skipped for want of one, or none used a real one",
            "see why there is none (`gpuguard doctor`), or leave out require=gpu on machines without",
        ),
        Code(
            "GPG501",
            "a setting cannot be read",
            "see `pytest --help`, group gpuguard, for the values it takes",
        ),
        Code(
            "GPG502",
            "the baseline of known leaks cannot be used",
            "mend the file by hand, or remove it and accept anew with `gpuguard baseline accept`",
        ),
        Code(
            "GPG601",
            "a test made no progress for so long that it was ended",
            "see the stacks and what earlier tests left behind; raise the limit if the wait is expected",
        ),
        Code(
            "GPG602",
            "a worker died while it ran a test",
            "see its stacks, and what it held and had allocated last",
        ),
        Code(
            "GPG901",
            "the leak detector failed and was switched off; the tests themselves are not concerned",
            "please report it with the message; `gpuguard_leak_kinds` can leave out what fails",
        ),
    )
}


class GuardError(Exception):
    """An error that carries its catalogue code.

    Parameters
    ----------
    code
        ``GPGnnn`` as in :data:`CATALOGUE`.
    message
        What happened with numbers, who is involved, what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
