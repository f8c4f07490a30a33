"""What runs before this one have measured: how long tests take, and the most that they used."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_gpuguard.plan.suite import Need, Suite
from pytest_gpuguard.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["History", "Measured", "read_history", "stored", "suggestions", "with_peaks", "wrong_claims"]

# The last run counts as much as all before it.
_LATEST = 0.5
# Peaks are taken for whole parts of a limit: tests that need about the same are the same to the scheduler.
_PARTS = 32
_FAR_ABOVE = 4
_MIB = 1 << 20


class Measured(msgspec.Struct, gc=False):
    """One test: bytes by resource at its peak, and what it had claimed."""

    peak: dict[str, int] | None = None
    claimed: dict[str, int] | None = None


class History(msgspec.Struct):
    """Tests by node id: seconds, bytes used at the peak, and what was claimed before they began.

    Attributes
    ----------
    shared
        Names of the session fixtures that were seen to have parameters.
    """

    seconds: dict[str, float] = {}
    peaks: dict[str, dict[str, int]] = {}
    claims: dict[str, dict[str, int]] = {}
    shared: list[str] = []

    def learn(
        self, seconds: Mapping[str, float], used: Mapping[str, Measured], shared: Iterable[str] = ()
    ) -> None:
        """Take what a run has measured: seconds of each test, and what those used or claimed that did."""
        known = self.seconds.get
        self.seconds |= {
            nodeid: _LATEST * now + (1 - _LATEST) * known(nodeid, now) for nodeid, now in seconds.items()
        }
        for kept in (self.peaks, self.claims):
            for nodeid in kept.keys() & seconds.keys():
                del kept[nodeid]
        self.peaks |= {nodeid: dict(one.peak) for nodeid, one in used.items() if one.peak}
        self.claims |= {nodeid: dict(one.claimed) for nodeid, one in used.items() if one.claimed}
        self.shared = sorted({*self.shared, *shared})

    def known(self, ids: Sequence[str]) -> dict[int, float]:
        """Return the seconds of the tests of which they are known, by index."""
        return {test: self.seconds[nodeid] for test, nodeid in enumerate(ids) if nodeid in self.seconds}


def read_history(stored: bytes) -> History:
    """Return what was stored, as :func:`stored` made it; nothing, where that is not to be understood."""
    try:
        return msgspec.json.decode(stored, type=History)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return History()


def stored(history: History) -> bytes:
    """Return what is to be kept, without tests whose names are no valid text."""
    try:
        return msgspec.json.encode(history)
    except UnicodeEncodeError:
        known = msgspec.structs.asdict(history)
        sound = {field: _sound(tests) for field, tests in known.items() if isinstance(tests, dict)}
        return msgspec.json.encode(known | sound)


def _sound(tests: dict[str, Any]) -> dict[str, Any]:
    return {name: known for name, known in tests.items() if name == name.encode(errors="ignore").decode()}


def with_peaks(
    suite: Suite,
    needs: Sequence[Need],
    ids: Sequence[str],
    peaks: Mapping[str, Mapping[str, int]],
    limits: Mapping[str, int],
) -> tuple[Suite, list[Need]]:
    """Return suite and needs with those of tests that say nothing, but were measured.

    They are for the scheduler alone: such a test claims when it allocates.
    """
    numbers = dict(suite.needs)
    found: dict[tuple[tuple[str, int], ...], int] = {}
    more: list[Need] = []
    for test, nodeid in enumerate(ids):
        if test in numbers or nodeid not in peaks:
            continue
        amounts = tuple(sorted(_in_parts(peaks[nodeid], limits).items()))
        if not amounts:
            continue
        if amounts not in found:
            found[amounts] = len(needs) + len(more)
            more.append(Need(dict(amounts)))
        numbers[test] = found[amounts]
    return msgspec.structs.replace(suite, needs=numbers), [*needs, *more]


def _in_parts(peak: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, int]:
    parts: dict[str, int] = {}
    for name, amount in peak.items():
        limit = limits.get(name, 0)
        part = -(-limit // _PARTS)
        # A small part of a large budget keeps nobody apart.
        if limit and amount > part:
            parts[name] = min(limit, -(-amount // part) * part)
    return parts


def wrong_claims(run: Mapping[str, Measured]) -> list[str]:
    """Return lines about claims far above what was used, or under it; only where something was measured."""
    lines = []
    for nodeid, measured in run.items():
        if not measured.peak:
            continue
        for name, used in measured.peak.items():
            claimed = (measured.claimed or {}).get(name, 0)
            if _is_amount(name) and used and claimed and not used <= claimed <= _FAR_ABOVE * used:
                how = "used only" if claimed > used else "used"
                lines.append(
                    f"{nodeid} claims {format_bytes(claimed)} {name}, and {how} {format_bytes(used)}"
                )
    return lines


def _is_amount(name: str) -> bool:
    return name in {"pinned", "memory"} or (name.startswith("gpu.") and not name.endswith(".slots"))


def suggestions(run: Mapping[str, Measured]) -> str:
    """Return marks that say what was measured, one line for each test function."""
    functions: dict[str, list[Measured]] = defaultdict(list)
    for nodeid, measured in run.items():
        if any(_is_amount(name) for name in measured.peak or ()):
            functions[nodeid.partition("[")[0]].append(measured)
    lines = [
        "# What tests used at their peak, rounded up to whole MiB, as marks. Only what is measured is here:",
        "# arrays of pinned_array and blocks of gpu_lease. Parameters of one test are taken together.",
    ]
    for function, all_measured in sorted(functions.items()):
        pinned = max((measured.peak or {}).get("pinned", 0) for measured in all_measured)
        memory = max(_memory(measured.peak or {}) for measured in all_measured)
        words = [
            f'{word}="{-(-amount // _MIB)} MiB"'
            for word, amount in (("memory", memory), ("pinned", pinned))
            if amount
        ]
        claimed = max((measured.claimed or {}).get("pinned", 0) for measured in all_measured)
        has = f"  # claims {format_bytes(claimed)} pinned" if claimed else ""
        lines.append(f"{function}: @pytest.mark.gpu({', '.join(words)}){has}")
    return "\n".join(lines) + "\n"


def _memory(peak: Mapping[str, int]) -> int:
    return max(
        (amount for name, amount in peak.items() if name.startswith("gpu.") and _is_amount(name)), default=0
    )
