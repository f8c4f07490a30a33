"""One defect, one name: the same on every machine, after a moved line and with new parameters.

Hashed are the version of this recipe, the kind, what the thread runs, and the functions from the suspect
outwards to the fixture. The fixture counts, since two fixtures that forget the same thing need two edits; a
test does not, since many tests repeat one mistake of the code that they call. Line numbers, addresses,
parameters and thread names never count.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuguard.report.model import Frame

__all__ = ["fingerprint", "suspect_of"]

_RECIPE = "v1"


def suspect_of(created: Sequence[Frame]) -> Frame | None:
    """Return who is to blame: the innermost frame of the project, else of the fixture, else of the test."""
    for role in ("app", "fixture", "test"):
        for frame in reversed(created):
            if frame.role == role:
                return frame
    return created[-1] if created else None


def fingerprint(kind: str, created: Sequence[Frame], subject: str) -> str:
    """Return the fingerprint of a leak, such as ``"v1:a91f03c27d10b4e8"``.

    Parameters
    ----------
    kind
        ``"thread"`` and so on.
    created
        Frames from the fixture or test inwards.
    subject
        What tells two things of one place apart, such as the thread's target.
    """
    suspect = suspect_of(created)
    parts = [_RECIPE, kind, subject]
    for frame in reversed(created[: created.index(suspect) + 1] if suspect else []):
        if frame.role == "test" and frame is not suspect:
            break
        parts.append(f"{frame.file}:{frame.function}")
    digest = hashlib.sha256("\0".join(parts).encode(errors="backslashreplace")).hexdigest()
    return f"{_RECIPE}:{digest[:16]}"
