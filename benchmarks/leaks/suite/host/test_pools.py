"""Pools start their threads late, and do in them what tests ask for: whose is what comes of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.leaks.planting import clean, keep, left, planted

AT_IMPORT = ThreadPoolExecutor(2)


def forgotten_pool():
    pool = ThreadPoolExecutor(1)
    return keep(pool, pool.shutdown)


class TestForgottenPool:
    """The class makes the pool, its first test starts the thread."""

    @classmethod
    def setup_class(cls):
        cls.pool = forgotten_pool()

    @planted("thread", owner="setup_class")
    @pytest.mark.parametrize("n", [1, 2])
    def test_pool_of_setup_class(self, n):
        assert self.pool.submit(int).result() == 0


@planted("thread")
def test_job_in_a_pool_of_the_module():
    AT_IMPORT.submit(left).result()


@planted("thread")
def test_pool_of_its_own():
    assert forgotten_pool().submit(int).result() == 0


@pytest.fixture(scope="class")
def starts_in_a_finalizer(request):
    request.addfinalizer(left)


class TestFinalizer:
    """The fixture's end makes what stays; the test has nothing to do with it."""

    @planted("thread", owner="starts_in_a_finalizer")
    def test_thread_of_a_finalizer(self, starts_in_a_finalizer):
        pass


# Clean.


@clean
@pytest.mark.parametrize("n", [1, 2])
def test_pool_that_was_there_before_the_tests(n):
    assert sum(AT_IMPORT.map(int, range(20))) == 190


class TestClosedPool:
    """As the forgotten one, but ended where the class is."""

    @classmethod
    def setup_class(cls):
        cls.pool = ThreadPoolExecutor(1)

    @classmethod
    def teardown_class(cls):
        cls.pool.shutdown()

    @clean
    @pytest.mark.parametrize("n", [1, 2])
    def test_pool_that_teardown_class_ends(self, n):
        assert self.pool.submit(int).result() == 0


@pytest.fixture(scope="module")
def pool_under_a_name():
    global by_name  # noqa: PLW0603 - as suites do
    by_name = ThreadPoolExecutor(1)
    yield
    by_name.shutdown()


@clean
@pytest.mark.parametrize("n", [1, 2])
def test_pool_under_a_name_of_the_module(pool_under_a_name, n):
    assert by_name.submit(int).result() == 0
