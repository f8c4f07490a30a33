"""What was said to no effect: warned of, since a misspelt word must not read as all being well."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

import pytest

from pytest_gpuguard.hooks.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pytest_gpuguard.hooks.settings import Settings

__all__ = ["did_you_mean", "idle_switches", "warn", "warn_of_misspelt"]

_PREFIX = "GPUGUARD_"
_RESOURCES = ("pinned", "pinned.regions", "gpu")
#: How much alike two words are, from 0 to 1, of which one is taken for the other.
_ALIKE = 0.75


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return a question that ends a sentence, or nothing where no word is near."""
    near = difflib.get_close_matches(word, sorted(words), 1, _ALIKE)
    return f" (did you mean {near[0]}?)" if near else ""


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = {option.variable for option in OPTIONS}
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in known:
            yield f"the environment has {name}, which is no switch of gpuguard{did_you_mean(name, known)}"


def _doubtful_resources(budget: Collection[str]) -> Iterator[str]:
    for name in budget:
        near = did_you_mean(name, _RESOURCES)
        if near and name not in _RESOURCES and not name.startswith("gpu."):
            yield f"the budget limits {name!r}{near}: it is counted as a resource of its own"


def idle_switches(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Yield what is wrong with switches on the command line of a run that nobody watches.

    Those of ``addopts`` are meant for the runs that are watched, and who says that this one is not means it.
    """
    said = [str(arg).partition("=")[0] for arg in config.invocation_params.args]
    switches = [word for word in dict.fromkeys(said) if word in {option.flag for option in OPTIONS}]
    is_said = config.getoption("gpuguard") is not None or "GPUGUARD" in environ
    if switches and not is_said and config.getini("gpuguard") is None:
        yield f"{', '.join(switches)} has no effect: gpuguard is not active, --gpuguard makes it so"


def warn_of_misspelt(
    config: pytest.Config, settings: Settings, environ: Mapping[str, str] = os.environ
) -> None:
    """Warn of names that nothing reads."""
    warn(config, [*_unknown_variables(environ), *_doubtful_resources(settings.budget or {})])


def warn(config: pytest.Config, messages: Iterable[str]) -> None:
    """Show each in pytest's summary of warnings."""
    for message in messages:
        config.issue_config_time_warning(pytest.PytestConfigWarning(f"gpuguard: {message}"), stacklevel=2)
