"""A fast part of numba-cuda's own driver tests; all of them run by `make conformance`."""

from __future__ import annotations

import pytest

from tests.fakecuda.conformance.expected import EXPECTED_FAILURES
from tests.fakecuda.conformance.suite import arguments, missing, modules, write_suite

FAST = (
    "test_context_stack",
    "test_cuda_memory",
    "test_deallocations",
    "test_events",
    "test_host_alloc",
    "test_pinned",
)


@pytest.fixture
def suite(tmp_path):
    lacking = missing()
    if lacking:
        pytest.skip(lacking)
    folder = tmp_path / "suite"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("deferred", [0, 1])
def test_numba_s_own_tests_pass_on_the_fake_driver(fake_lane, suite, deferred):
    write_suite(suite, FAST)
    result = fake_lane.pytest(*arguments(suite), "-q", deferred=deferred).check()
    assert result.outcomes["passed"] >= 40
    assert not result.outcomes.keys() & {"failed", "errors", "xpassed"}


def test_every_expected_failure_is_of_a_test_that_exists_and_says_why():
    sources = {path.name: path.read_text() for path in modules()}
    for test, reason in EXPECTED_FAILURES.items():
        module, case, name = test.split("::")
        assert f"class {case}(" in sources[module]
        assert f"def {name}(" in sources[module]
        assert len(reason) > 40
