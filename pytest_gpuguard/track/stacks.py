"""Stacks, cheaply taken and later read: where a thing was made and who is to blame for it.

Taking a stack keeps pairs of code object and instruction, never frames: a frame keeps its locals alive,
hence the very leak that it should explain. Lines are worked out when a report is written.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import CodeType, FrameType

__all__ = ["HARNESS", "Frame", "Places", "RawStack", "Role", "capture", "cut"]

RawStack = tuple[tuple["CodeType", int], ...]
Role = Literal["test", "fixture", "app", "library", "harness"]

_DEPTH = 24
_ABSOLUTE = re.compile(r"(?:(?<=[=:,;\s'\"(])|^)/(?!/)[^=:,;\s'\")]*")
#: Folders of installed packages, wherever they are.
_SITES = frozenset({"site-packages", "dist-packages"})
#: Packages that run the tests, and are never to blame.
HARNESS = frozenset({"_pytest", "pytest", "pluggy", "xdist", "execnet", "pytest_gpuguard"})


class Frame(NamedTuple):
    """One line of a stack: ``file`` as shown to people, ``module`` for fingerprints."""

    file: str
    line: int
    function: str
    role: Role


def capture(frame: FrameType | None, depth: int = _DEPTH) -> RawStack:
    """Return up to ``depth`` callers from ``frame`` outwards, innermost first."""
    found = []
    while frame is not None and depth:
        found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
        depth -= 1
    return tuple(found)


def _line(code: CodeType, instruction: int) -> int:
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return line
    return code.co_firstlineno


@functools.cache
def _bases(*names: str) -> frozenset[Path]:
    # Most runs have no stack to show, and ask for no path.
    import sysconfig

    # As written and as resolved: code objects carry whatever spelling was on the import path.
    written = {Path(sysconfig.get_path(name)) for name in names}
    return frozenset(written | {path.resolve() for path in written})


class Places:
    """Turns file names into what people read: relative to the root, ``<site>/...`` or ``<stdlib>/...``.

    No home folder and no absolute path outside of these ever gets into a report.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(sound(str(root)))

    def shown(self, filename: str) -> tuple[str, Role]:
        """Return ``filename`` as people should see it, and the role its place suggests."""
        path = Path(sound(filename))
        for base in _bases("purelib", "platlib"):
            if path.is_relative_to(base):
                relative = path.relative_to(base)
                return f"<site>/{relative.as_posix()}", _library_role(relative)
        for above in path.parents:
            # Of the Python that a virtual environment is made of, of the user, or on PYTHONPATH.
            if above.name in _SITES and not self._root.is_relative_to(above):
                relative = path.relative_to(above)
                return f"<site>/{relative.as_posix()}", _library_role(relative)
        for base in _bases("stdlib", "platstdlib"):
            if path.is_relative_to(base):
                return f"<stdlib>/{path.relative_to(base).as_posix()}", "library"
        if path.is_relative_to(self._root):
            relative = path.relative_to(self._root)
            return relative.as_posix(), "harness" if relative.parts[:1] == ("pytest_gpuguard",) else "app"
        return f"<elsewhere>/{path.name}", _library_role(PurePath(*path.parts[-3:]))

    def scrub(self, text: str) -> str:
        """Return ``text`` with every absolute path in it as :meth:`shown` has it."""
        return _ABSOLUTE.sub(lambda match: self.shown(match[0])[0], text)

    def read(
        self, stack: RawStack, fixtures: Iterable[CodeType | None] = (), test: CodeType | None = None
    ) -> list[Frame]:
        """Return the stack's lines, outermost first, each with its role."""
        owners = {code for code in fixtures if code is not None}
        frames = []
        for code, instruction in reversed(stack):
            file, role = self.shown(code.co_filename)
            if code in owners:
                role = "fixture"
            elif code is test:
                role = "test"
            frames.append(Frame(file, _line(code, instruction), code.co_qualname, role))
        return frames


def _library_role(path: PurePath) -> Role:
    return "harness" if any(part.removesuffix(".py") in HARNESS for part in path.parts) else "library"


def cut(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames from the fixture or test inwards, without the harness around and between them.

    A filter that would remove every frame from there on is not applied.
    """
    start = 0
    for index, frame in enumerate(frames):
        if frame.role in {"test", "fixture"}:
            start = index
    # pytest calls setup_module and its like through fixtures of its own.
    kept = [
        frame
        for frame in frames[start:]
        if frame.role != "harness" and not frame.file.startswith("<site>/_pytest/")
    ]
    return kept or list(frames[start:])
