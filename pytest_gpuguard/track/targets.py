"""Where what is open leads to, in words: for people, and without what changes from run to run."""

from __future__ import annotations

import _socket
import functools
import os
import re
import socket
import tempfile
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from enum import IntEnum

    from pytest_gpuguard.track.stacks import Places

__all__ = ["Targets"]

#: Stand for the folder of temporary files, and for what pytest has made there for this run and worker: below
#: it names are the suite's own.
_TEMPORARY, _RUN = "<tmp>", "<tmp_path>"
_OF_THE_RUN = re.compile(r"^<tmp>/pytest-of-[^/]*/pytest-\d+/(popen-gw\d+/)?")
_TEMPORARY_NAME = re.compile(r"^<tmp>/.*?(\.\w+)?( \(deleted\))?$")
#: Numbers, and what looks like a hash.
_RANDOM = re.compile(r"(?<![A-Za-z0-9])[0-9a-f]{4,}(?![A-Za-z0-9])|\d+")


@functools.cache
def _folders() -> tuple[str, ...]:
    return tempfile.gettempdir(), os.path.realpath(tempfile.gettempdir())


class Targets:
    """Names what is open.

    Parameters
    ----------
    places
        How files are shown.
    basetemp
        Where temporary files of this run's tests are, if that was chosen.
    """

    def __init__(self, places: Places, basetemp: str | None = None) -> None:
        self._places = places
        self._run = os.path.realpath(basetemp) if basetemp else None

    def shown(self, path: str) -> str:
        """Return the path of an open file as people should see it."""
        if self._run is not None and PurePath(path).is_relative_to(self._run):
            return f"{_RUN}/{sound(os.path.relpath(path, self._run))}"
        file = self._places.shown(path)[0]
        above = next((folder for folder in _folders() if PurePath(path).is_relative_to(folder)), None)
        if above is None or not file.startswith("<elsewhere>/"):
            return file
        return _OF_THE_RUN.sub(f"{_RUN}/", f"{_TEMPORARY}/{sound(os.path.relpath(path, above))}")

    def in_words(self, target: str, fd: int) -> str:
        """Return what is open, without chance: a file by its path, a socket by its family and type."""
        if target.startswith("/"):
            path = _TEMPORARY_NAME.sub(r"<tmp>/*\1\2", self.shown(target))
            return f"file {_RANDOM.sub('N', path)}"
        name = target.removeprefix("anon_inode:").strip("[]").partition(":")[0]
        return f"socket{_family(fd)}" if name == "socket" else name


def _family(fd: int) -> str:
    try:
        # Of the system's own kind: tests put others in the place of Python's.
        found = _socket.socket(fileno=fd)
    except OSError:  # closed meanwhile
        return ""
    try:
        return f" ({_named(socket.AddressFamily, found.family)}, {_named(socket.SocketKind, found.type)})"
    finally:
        found.detach()


def _named(names: type[IntEnum], number: int) -> str:
    return next((entry.name for entry in names if entry == number), str(number))
