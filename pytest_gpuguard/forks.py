"""What is done around a fork: a child inherits what is open and mapped, which tells of its parent."""

from __future__ import annotations

import os
import sys
import threading
import traceback
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["around_each_fork", "in_each_child", "in_each_parent"]

#: Bound here: a test puts something else in their place, and forks meanwhile.
_get_ident, _main_thread = threading.get_ident, threading.main_thread


def in_each_child(method: Callable[[], object]) -> None:
    """Call a bound method in each child that is forked as long as its object lives."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_while_it_lives(method))


def in_each_parent(method: Callable[[], object]) -> None:
    """Call a bound method after each fork, in the thread that forks, as long as its object lives."""
    _forks.register()
    _forks.in_parent.append(_while_it_lives(method))


def around_each_fork(before: Callable[[], object], after: Callable[[], object]) -> None:
    """Call bound methods before each fork, and after it in the parent, as long as their object lives.

    ``after`` is called when Python has counted the threads: it warns of a fork where there are several.
    """
    _forks.register()
    _forks.before.append(_while_it_lives(before))
    _forks.after.append(_while_it_lives(after))


class _Forks:
    """All that is called in a process that forks, registered as one.

    Since 3.13 Python counts the threads behind whatever is registered for the parent. So the main thread has
    to make the last calls before it runs its next bytecode. C code must ask for that: else the next bytecode
    would be one of ours, or of another one who is registered.
    """

    def __init__(self) -> None:
        self.before: list[Callable[[], None]] = []
        self.in_parent: list[Callable[[], None]] = []
        self.after: list[Callable[[], None]] = []
        self._registered = False
        # As C calls it, where that is what makes the last calls.
        self._from_c: Any = None
        # The threads that are forking.
        self._forking: set[int] = set()

    def register(self) -> None:
        if self._registered or not hasattr(os, "register_at_fork"):
            return
        self._registered = True
        os.register_at_fork(before=self._begins, after_in_parent=self._ends)
        if sys.version_info >= (3, 13) and sys.implementation.name == "cpython":
            from ctypes import CFUNCTYPE, c_int, c_void_p, pythonapi

            self._from_c = CFUNCTYPE(c_int, c_void_p)(self._once_counted)
            os.register_at_fork(after_in_parent=partial(pythonapi.Py_AddPendingCall, self._from_c, None))

    def _begins(self) -> None:
        self._forking.add(_get_ident())
        _call_all(reversed(self.before))

    def _ends(self) -> None:
        try:
            _call_all(self.in_parent)
        finally:
            # In another thread than the main one there are several anyway, and that one may not run for long.
            if self._from_c is None or _get_ident() != _main_thread().ident:
                self._over()

    def _once_counted(self, _: object) -> int:
        try:
            self._over()
        except BaseException:  # noqa: BLE001 - shown, as of all that is registered
            # To be raised here it would become an error of the code that forks.
            traceback.print_exc()
        return 0

    def _over(self) -> None:
        # Asked for by another thread's fork too.
        if _get_ident() in self._forking:
            self._forking.discard(_get_ident())
            _call_all(self.after)


_forks = _Forks()


def _call_all(calls: Iterable[Callable[[], None]]) -> None:
    """Make each call, also behind one that fails: who has stepped aside has to come back."""
    failed: list[BaseException] = []
    for call in calls:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - a test may raise anything; it is raised below
            failed[:] = [error]
    if failed:
        # Kept nowhere: its traceback leads back here, and to all that the calls had.
        raise failed.pop()


def _while_it_lives(method: Callable[[], object]) -> Callable[[], None]:
    # What is registered can never be taken back, so it keeps nothing alive.
    weak = weakref.WeakMethod(method)

    def call() -> None:
        if (alive := weak()) is not None:
            alive()

    return call
