"""Which skips are for want of a device. Ours are known; of others the reason has to do."""

from __future__ import annotations

import re

__all__ = ["is_want"]

_OURS = re.compile(r"(fixture \w+ )?needs a (real )?device\b")
_DEVICE = re.compile(r"\b(gpus?|cuda|nvidia|cupy|devices?)\b", re.IGNORECASE)
_LACKING = re.compile(
    r"\b(no|not|without|needs?|requires?|required|requiring|missing|unavailable|absent|only|cannot)\b",
    re.IGNORECASE,
)
#: Then a device may well be there, and is too old, too small, or alone.
_OTHERWISE = re.compile(
    r"capabilit|\bsm_?\d|multi|several|memory|\b([2-9]|two|more) +(gpus|devices)|version|cuda *[<>=]|cuda *\d"
    r"|simulator|cudasim|budget",
    re.IGNORECASE,
)


def is_want(reason: str) -> bool:
    """Return whether a test was skipped because there is no device, as far as the reason tells."""
    if _OURS.match(reason):
        return True
    return bool(_DEVICE.search(reason) and _LACKING.search(reason) and not _OTHERWISE.search(reason))
