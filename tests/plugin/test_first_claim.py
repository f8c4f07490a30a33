"""The first claim of a suite comes in the midst of a test: that test too gives back what it holds."""

from __future__ import annotations

CONFTEST = """
    import pytest
    from pytest_gpuguard.hooks.leasing import LEASING

    @pytest.fixture
    def held(request):
        return request.config.stash[LEASING].desk.described
"""


def test_what_outlives_its_block_is_given_back_before_the_next_test(run_plain, tmp_path):
    inner = run_plain.watched(
        "--gpuguard-budget=pinned=8MiB",
        f"--gpuguard-budget-dir={tmp_path}",
        conftest=CONFTEST,
        test_it="""
            def test_claims(gpu_lease, pinned_array, held):
                with gpu_lease(pinned="1 MiB"):
                    pinned_array((1 << 20,), "u1")
                assert held()

            def test_next(held):
                assert not held()
        """,
    )
    assert inner.ret == 0, inner.out
