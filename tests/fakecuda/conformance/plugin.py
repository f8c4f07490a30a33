"""The pytest plugin under which numba-cuda's tests run: kernels get bodies, known failures are expected."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import pytest

from tests.fakecuda import control
from tests.fakecuda.conformance.expected import EXPECTED_FAILURES
from tests.fakecuda.kernels import HostKernels

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="class")
def initialize_from_pytest_config(request: pytest.FixtureRequest) -> None:
    """Stand for a fixture of numba-cuda's own conftest, which the wheel does not hold."""
    request.cls._dump_failed_filechecks = False


@pytest.fixture(autouse=True, scope="session")
def host_kernels() -> Iterator[HostKernels]:
    """Bodies for all kernels; the one that the tests give as PTX is written out here."""
    driver = control.attach()

    def hello(_: object, block: tuple[int, ...], pointer: bytes) -> None:
        address = driver.host_view(int.from_bytes(pointer, "little"))
        (ctypes.c_int * block[0]).from_address(address)[:] = list(range(block[0]))

    with HostKernels(driver, sticky=False) as kernels:
        kernels.register("_Z10helloworldPi", hello)
        yield kernels


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the failures that are explained."""
    for item in items:
        reason = EXPECTED_FAILURES.get(item.nodeid)
        if reason:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
