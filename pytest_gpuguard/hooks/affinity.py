"""Which tests share the parameters of session fixtures, so that one worker has to make them once.

pytest says what scope a parameter has where it is made for a test, and in the fixture itself once that is set
up. Parameters that a test gives to a session fixture (``indirect=True``) say nothing of scope: they are known
from the second run on.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.plug import Plug

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence

__all__ = ["SEEN", "SessionParams"]

#: Where names that were found ride on a report.
SEEN = "gpuguard_session_fixtures"


class _Numbers:
    """Numbers values of one parameter in the order in which they come: the same in all processes."""

    def __init__(self) -> None:
        self._by_value: dict[Any, int] = {}
        self._kept: list[object] = []

    def of(self, value: object) -> int:
        # Equal values are one; what cannot be compared so is its text, unless that tells an address.
        try:
            hash(value)
            key: Any = (type(value), value)
        except TypeError:
            text = repr(value)
            key = id(value) if " at 0x" in text else text
        self._kept.append(value)  # an id is worth something as long as its owner lives
        return self._by_value.setdefault(key, len(self._by_value))


class SessionParams(Plug):
    """Finds the parameters of session fixtures.

    Parameters
    ----------
    known
        Names of session fixtures with parameters, from runs before.
    """

    def __init__(self, known: Collection[str]) -> None:
        self._names = set(known)
        self._known = set(known)
        self._new: set[str] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> Generator[None, object, object]:
        parametrize = metafunc.parametrize

        def noting(argnames: str | Sequence[str], *args: Any, **kwargs: Any) -> None:
            if kwargs.get("scope") == "session":
                names = argnames.split(",") if isinstance(argnames, str) else argnames
                self._names.update(name.strip() for name in names)
            parametrize(argnames, *args, **kwargs)

        metafunc.parametrize = noting  # type: ignore[method-assign]
        return (yield)

    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> None:
        if fixturedef.scope == "session" and hasattr(request, "param"):
            self._new |= {fixturedef.argname} - self._known

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if self._new:
            # On its way to whoever remembers it for the next run.
            setattr(report, SEEN, sorted(self._new))
            self._known |= self._new
            self._new = set()
        return report

    def shared(self, items: Sequence[pytest.Item]) -> dict[str, list[int]]:
        """Return the tests that have the same parameters of session fixtures, by what these are."""
        numbers: dict[str, _Numbers] = defaultdict(_Numbers)
        found: dict[str, list[int]] = defaultdict(list)
        for test, item in enumerate(items):
            params: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
            mine = sorted(self._names.intersection(params))
            if mine:
                key = " ".join(f"{name}={numbers[name].of(params[name])}" for name in mine)
                found[key].append(test)
        return dict(found) if len(found) > 1 else {}
