"""What pytest walks through when it registers one of our objects."""

from __future__ import annotations

CONFTEST = """
    def pytest_sessionfinish(session):
        plugins = dict(session.config.pluginmanager.list_name_plugin())
        ours = {name: plugin for name, plugin in plugins.items() if name.startswith("gpuguard-")}
        assert "gpuguard-guard" in ours
        for name, plugin in ours.items():
            assert dir(plugin) and all(each.startswith("pytest_") for each in dir(plugin)), name
"""


def test_our_objects_list_their_hooks_alone(run_plain):
    inner = run_plain.watched(conftest=CONFTEST, test_it="def test_it(): pass")
    assert inner.ret == 0, inner.out


def test_they_do_so_where_fixtures_and_marks_say_what_is_needed(run_plain, tmp_path):
    inner = run_plain.watched(
        "--gpuguard-budget=pinned=8MiB",
        f"--gpuguard-budget-dir={tmp_path}",
        conftest=CONFTEST,
        test_it="""
            import pytest

            @pytest.mark.gpu(pinned="1 MiB")
            def test_it(pinned_array):
                pinned_array((4,), "u1")
        """,
    )
    assert inner.ret == 0, inner.out
