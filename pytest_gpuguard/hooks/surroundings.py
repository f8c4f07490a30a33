"""Where a run takes place: versions of packages that matter, and what the CI says of itself."""

from __future__ import annotations

import functools
import os
import re
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING

from pytest_gpuguard.report.model import CI

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ci_of", "versions"]

_PACKAGES = (
    "pytest",
    "pytest-xdist",
    "pytest-timeout",
    "pytest-rerunfailures",
    "pytest-forked",
    "pytest-asyncio",
    "filelock",
    "numba",
    "numba-cuda",
    "cuda-bindings",
    "numpy",
    "torch",
    "cupy",
    "nvidia-ml-py",
)
_VERSION = re.compile(r"^Version: *(\S+)", re.MULTILINE)


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of those that are installed; nothing is imported for it."""
    found = {}
    for package in _PACKAGES:
        try:
            about = distribution(package).read_text("METADATA") or ""
        except PackageNotFoundError:
            continue
        # Not by its own property, which takes the whole of it apart.
        if (stated := _VERSION.search(about)) is not None:
            found[package] = stated[1]
    return found


def ci_of(environ: Mapping[str, str] = os.environ) -> CI | None:
    """Return what the environment of a CI says, None outside of one."""
    get = environ.get
    if get("GITHUB_ACTIONS"):
        place = f"{get('GITHUB_SERVER_URL', '')}/{get('GITHUB_REPOSITORY', '')}"
        url = f"{place}/actions/runs/{get('GITHUB_RUN_ID', '')}"
        return CI("github", url, get("GITHUB_SHA", ""), get("GITHUB_REF", ""))
    if get("GITLAB_CI"):
        return CI("gitlab", get("CI_JOB_URL", ""), get("CI_COMMIT_SHA", ""), get("CI_COMMIT_REF_NAME", ""))
    if get("JENKINS_URL"):
        return CI("jenkins", get("BUILD_URL", ""), get("GIT_COMMIT", ""), get("GIT_BRANCH", ""))
    return CI("ci") if get("CI") else None
