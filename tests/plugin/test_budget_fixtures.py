"""What fixtures claim: their part of a test's lease, what outlasts a test, and uses beyond a claim."""

from __future__ import annotations

import pytest

from pytest_gpuguard import Budget

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "budget").mkdir()
    monkeypatch.setenv("BUDGET", str(tmp_path / "budget"))
    return tmp_path / "budget"


def options(folder, *more, pinned="100MiB"):
    return f"--gpuguard-budget=pinned={pinned}", f"--gpuguard-budget-dir={folder}", *more


PARTS = """
    import os
    import pytest
    from pytest_gpuguard import Budget, gpu_demand

    def mine():
        # Of this process alone: other workers hold parts of their own.
        holders = Budget({}, os.environ["BUDGET"]).snapshot().holders
        return sum(h.amounts.get("pinned", 0) for h in holders if h.person.pid == os.getpid())

    @pytest.fixture(scope="module")
    @gpu_demand(pinned=100)
    def of_module():
        assert mine() >= 100
        yield
        assert mine() >= 100

    @pytest.fixture(scope="class", params=[1, 2])
    @gpu_demand(pinned=200)
    def of_parameter(request):
        return request.param

    @pytest.fixture
    @gpu_demand(pinned=10)
    def of_function():
        return mine()

    @pytest.fixture(name="alias")
    @gpu_demand(pinned=20)
    def of_another_name():
        return mine()

    def test_foreseen(of_module, of_function):
        assert mine() == of_function == 110

    def test_wide_part_is_not_claimed_again(of_module, of_function):
        assert mine() == 110

    @pytest.mark.gpu(pinned=5)
    def test_beside_the_mark(of_module, of_function):
        assert mine() == 115

    def test_alias_is_claimed_when_it_is_set_up(of_module, alias):
        assert mine() == alias == 120

    def test_asked_for_while_it_runs(of_module, request):
        assert mine() == 100
        request.getfixturevalue("of_function")
        assert mine() == 110

    def test_each_parameter(of_module, of_parameter):
        assert mine() == 300

    @pytest.fixture(scope="module")
    @gpu_demand(pinned=1000)
    def broken():
        raise OSError("planted")

    def test_of_a_broken_fixture(of_module, broken): pass
"""

LAST = """
    from test_it import mine

    def test_everything_is_back():
        assert mine() == 0
"""


def test_parts_are_claimed_once_and_kept_as_long_as_their_scope(run, folder):
    way = ("--dist=loadfile",) if "2" in run.way else ()
    inner = run.watched(*options(folder, *way), test_it=PARTS, test_last=LAST)
    assert inner.outcomes.pop("test_of_a_broken_fixture") == "setup failed"
    assert set(inner.outcomes.values()) == {"passed"}, inner.out
    assert len(inner.outcomes) == 8
    assert Budget({}, folder).snapshot().holders == ()


def test_a_wide_part_that_cannot_be_had_fails_the_tests_that_need_it(run_plain, folder):
    inner = run_plain.watched(
        *options(folder),
        conftest="""
            import pytest
            from pytest_gpuguard import gpu_demand

            @pytest.fixture(scope="session", name="huge")
            @gpu_demand(pinned="200 MiB")
            def of_session(): pass
        """,
        test_it="""
            import pytest

            def test_foreseen_or_not(huge): pass

            def test_asks(request):
                with pytest.raises(pytest.fail.Exception, match="GPG303: asked for 200.0 MiB pinned"):
                    request.getfixturevalue("huge")

            test_asks_again = test_asks

            def test_other(): pass
        """,
    )
    assert inner.outcomes == {
        "test_foreseen_or_not": "setup failed",
        "test_asks": "passed",
        "test_asks_again": "passed",
        "test_other": "passed",
    }


USES = """
    import os
    import numpy as np
    import pytest
    from pytest_gpuguard import Budget, gpu_demand

    def mine(name="pinned"):
        holders = Budget({}, os.environ["BUDGET"]).snapshot().holders
        return sum(h.amounts.get(name, 0) for h in holders if h.person.pid == os.getpid())

    def test_unmarked_claims_as_it_goes(pinned_array):
        array = pinned_array((10, 10), np.float32)
        assert (array.shape, array.dtype) == ((10, 10), np.float32)
        assert mine() == 400
        pinned_array(100, "int8")
        assert (mine(), mine("pinned.regions")) == (500, 2)

    def test_which_is_back_in_the_next():
        assert mine() == 0

    @pytest.mark.gpu(pinned=1000)
    def test_inside_of_the_claim(pinned_array):
        pinned_array(500, np.int8), pinned_array(500, np.int8)
        assert mine() == 1000

    @pytest.mark.gpu(pinned=1000)
    def test_beyond_the_claim(pinned_array):
        pinned_array(600, np.int8)
        pinned_array(500, np.int8)

    @pytest.mark.gpu(pinned=1000)
    def test_a_block_inside_of_the_claim(gpu_lease, pinned_array):
        with gpu_lease(pinned=600):
            assert mine() == 1000
            pinned_array(600, np.int8)

    def test_a_block_of_its_own(gpu_lease, pinned_array):
        with gpu_lease(pinned=600):
            pinned_array(500, np.int8)
            assert mine() == 600
        assert mine() == 600  # as long as the array
        with gpu_lease(pinned=50):
            assert mine() == 650
        assert mine() == 600

    def test_blocks_side_by_side(gpu_lease):
        with gpu_lease(pinned=600), gpu_lease(pinned=700):
            assert mine() == 1300
        assert mine() == 0

    @pytest.mark.gpu(pinned=1000)
    def test_blocks_inside_of_the_claim(gpu_lease):
        with gpu_lease(pinned=600), gpu_lease(pinned=400):
            assert mine() == 1000
        with gpu_lease(pinned=600), pytest.raises(Exception, match="GPG308"):
            with gpu_lease(pinned=401):
                pass
        with gpu_lease(pinned=1000):
            assert mine() == 1000

    def test_beyond_a_block(gpu_lease, pinned_array):
        with gpu_lease(pinned=600):
            pinned_array(601, np.int8)

    @pytest.fixture(scope="module")
    def wide(module_pinned_array):
        return module_pinned_array(70, np.int8)

    @pytest.mark.gpu(pinned=7)
    def test_wide_beside_the_mark(wide):
        assert mine() == 77

    def test_wide_lasts(wide):
        assert mine() == 70

    @pytest.fixture(scope="class")
    @gpu_demand(pinned=30)
    def wide_inside(session_pinned_array):
        session_pinned_array(30, np.int8)
        assert mine() == 30 + 70

    def test_wide_inside_of_its_demand(wide_inside):
        pass

    def test_a_percentage_is_no_amount(gpu_lease):
        with pytest.raises(ValueError, match="pinned: '5%' is a percentage"):
            gpu_lease(pinned="5%")
"""


def test_uses_are_part_of_the_claim_or_claimed_as_they_come(run_plain, folder):
    inner = run_plain.watched(*options(folder), test_it=USES)
    assert {name for name, outcome in inner.outcomes.items() if outcome != "passed"} == {
        "test_beyond_the_claim",
        "test_beyond_a_block",
    }, inner.out
    text, source = inner.text("test_beyond_the_claim"), (inner.folder / "test_it.py").read_text().splitlines()
    function = source.index("def test_beyond_the_claim(pinned_array):")
    said = (
        f"GPG308: test_it.py:{function + 3} allocates 500 B pinned: with 600 B in use that is more than "
        "the 1000 B claimed"
    )
    assert said in text
    assert f"claimed by the mark at test_it.py:{function}" in text
    assert "claimed by gpu_lease at test_it.py:" in inner.text("test_beyond_a_block")
    assert Budget({}, folder).snapshot().holders == ()


CLOSING = """
    import multiprocessing, subprocess, sys, time
    from pathlib import Path
    import pytest

    class Thing:
        def __init__(self, name): self.name = name
        def close(self):
            with Path("closed").open("a") as file:
                file.write(self.name + " ")
            if self.name == "faulty":
                raise OSError("planted")

    class Managed:
        def __enter__(self): return self
        def __exit__(self, *error): Thing("managed").close()

    def test_fails(gpu_closing):
        thing = Thing("first")
        assert gpu_closing(thing) is thing
        gpu_closing(Thing("faulty"))
        gpu_closing(Managed())
        gpu_closing(Thing("last"))
        assert 1 == 2

    def test_of_module(module_gpu_closing):
        module_gpu_closing(Thing("of-module"))

    def test_of_session(session_gpu_closing):
        session_gpu_closing(Thing("of-session"))

    def test_cannot_be_closed(gpu_closing):
        with pytest.raises(TypeError, match="int has no close"):
            gpu_closing(3)

    class Later:
        async def close(self): pass

    def test_cannot_be_closed_by_a_call(gpu_closing):
        with pytest.raises(TypeError, match="Later has no close"):
            gpu_closing(Later())

    CHILDREN = []

    def test_children(gpu_closing):
        CHILDREN.append(gpu_closing(subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)))
        CHILDREN.append(multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)))
        CHILDREN[1].start()
        gpu_closing(CHILDREN[1])

    def test_children_were_waited_for():
        assert [CHILDREN[0].returncode, CHILDREN[1].exitcode] == [-15, -15]
"""


@pytest.mark.parametrize("active", [["--gpuguard"], []], ids=["active", "inactive"])
def test_whatever_happens_things_are_closed_last_one_first(run_plain, active):
    inner = run_plain(*active, test_it=CLOSING)
    assert (inner.folder / "closed").read_text().split() == [
        "last",
        "managed",
        "faulty",
        "first",
        "of-module",
        "of-session",
    ]
    assert {name: said for name, said in inner.outcomes.items() if said != "passed"} == {
        "test_fails": "failed, teardown failed"
    }


def test_inactive_marks_and_fixtures_work_without_any_lease(run, folder):
    inner = run(
        f"--gpuguard-budget-dir={folder}",
        "--strict-markers",
        test_it="""
            import pytest
            from pytest_gpuguard import gpu_demand

            @pytest.fixture
            @gpu_demand(pinned="9 TiB")
            def huge(): return 1

            @pytest.mark.gpu(pinned="9 TiB")
            @pytest.mark.gpuguard(memory="9 TiB")
            def test_it(huge, gpu_lease, pinned_array):
                with gpu_lease(pinned="9 TiB"):
                    assert pinned_array(3).shape == (3,)
        """,
    )
    assert inner.outcomes == {"test_it": "passed"}
    assert list(folder.iterdir()) == []
    # But for the warning that what was given for it has no effect.
    assert not [line for line in inner.out.splitlines() if line.startswith("gpuguard")]


@pytest.mark.parametrize(
    ("without", "evidence"),
    [
        ("", "numba finds no device, and its simulator is off: CUDA driver library cannot be found"),
        ("sys.modules['numba'] = None", "by way of numba-cuda, which cannot be imported: import of numba"),
    ],
)
def test_without_numba_or_a_device_a_test_is_skipped_with_the_evidence(run_plain, without, evidence):
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "0")
    inner = run_plain(
        conftest=f"import sys\n{without}\n",
        test_it="""
            def test_asks(pinned_array):
                pinned_array(3)
        """,
    )
    assert inner.outcomes == {"test_asks": "setup skipped"}
    assert evidence in inner.text("test_asks")


LOADED = """
    import importlib, pkgutil
    import filelock, psutil
    import pytest_gpuguard

    for found in pkgutil.walk_packages(pytest_gpuguard.__path__, "pytest_gpuguard."):
        if ".cli" not in found.name:
            importlib.import_module(found.name)
"""
AT_LAST = """
    import pytest

    @pytest.mark.parametrize("n", range(8))
    def test_quiet(n): pass

    def test_takes(gpu_lease):
        with gpu_lease(pinned="1 MiB"):
            pass

    def test_quiet_again(): pass
"""


def test_what_the_first_claim_of_a_suite_was_for_is_told_with_its_test(run):
    # Nothing else is new to this process then, such as a module: a claim has to make itself heard.
    inner = run.watched("--gpuguard-budget=pinned=100MiB", conftest=LOADED, test_it=AT_LAST)
    assert inner.ret == 0, inner.out
    (taking,) = (span for span in inner.report.tests if span.nodeid.endswith("test_takes"))
    assert taking.peak["pinned"] == 1 << 20
