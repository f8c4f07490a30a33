"""Keeps our modules out of the hands of pyfakefs, which gives every module that it finds files of its own.

It would do so for as long as a test asks for them, and what we keep open is not among those.
"""

from __future__ import annotations

import sys

__all__ = ["keep_the_real_files"]

_US = __name__.partition(".")[0]


def keep_the_real_files() -> None:
    """Have pyfakefs, if it is there, leave our modules alone."""
    theirs = sys.modules.get("pyfakefs.fake_filesystem_unittest")
    if theirs is not None:
        ours = [module for name, module in sys.modules.items() if name.partition(".")[0] == _US]
        theirs.Patcher.SKIPMODULES.update(ours)
