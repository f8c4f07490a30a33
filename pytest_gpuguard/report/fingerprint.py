"""One defect, one name: the same on every machine, after a moved line and with new parameters.

Hashed are the version of this recipe, the kind, what the thread runs, and the functions from the suspect
outwards to the fixture, which is there by its name where none of them is its own. The fixture counts, since
two fixtures that forget the same thing need two edits; a test does not, since many tests repeat one mistake
of the code that they call; only of a file or memory, that nobody saw being made, it may be all that is known.
Line numbers, addresses, parameters and thread names never count.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuguard.report.model import FixtureRef, Frame

__all__ = ["fingerprint", "suspect_of"]

_RECIPE = "v1"


def suspect_of(created: Sequence[Frame]) -> Frame | None:
    """Return who is to blame: the innermost frame of the project, else of the fixture, else of the test."""
    for role in ("app", "fixture", "test"):
        for frame in reversed(created):
            if frame.role == role:
                return frame
    return created[-1] if created else None


def fingerprint(kind: str, created: Sequence[Frame], subject: str, fixture: FixtureRef | None = None) -> str:
    """Return the fingerprint of a leak, such as ``"v1:a91f03c27d10b4e8"``.

    Parameters
    ----------
    kind
        ``"thread"`` and so on.
    created
        Frames from the fixture or test inwards.
    subject
        What tells two things of one place apart, such as the thread's target.
    fixture
        Whose it is; counted where no frame is its own, as of what a thread has started.
    """
    suspect = suspect_of(created)
    parts = [_RECIPE, kind, subject]
    for frame in reversed(created[: created.index(suspect) + 1] if suspect else []):
        # With a fixture it is any test that was the first to use that.
        if frame.role == "test" and (frame is not suspect or fixture is not None):
            break
        parts.append(f"{frame.file}:{frame.function}")
    if fixture is not None and not any(_is_of(frame, fixture) for frame in created):
        parts.append(f"{fixture.file}:{fixture.name}")
    digest = hashlib.sha256("\0".join(parts).encode(errors="backslashreplace")).hexdigest()
    return f"{_RECIPE}:{digest[:16]}"


def _is_of(frame: Frame, fixture: FixtureRef) -> bool:
    # Those that pytest makes of setup_method and its like have that of the suite's own function only.
    return frame.role == "fixture" or frame.function.rpartition(".")[2] == fixture.name
