"""A CUDA error that stays ends its process in the window of the test it came from; others end nothing."""

from __future__ import annotations

import re
import textwrap
import xml.etree.ElementTree as ET

import pytest

from tests.fakecuda.control import Fault

WAYS = {"plain": ("-p", "no:xdist"), "n0": ("-n", "0"), "n2": ("-n", "2")}

#: Five tests after the one in which the driver begins to fail; each notes in which process it runs.
SUITE = """
    import ctypes, os, time
    from pathlib import Path
    import pytest
    from tests.fakecuda.control import Fault, attach
    IMPORTS

    driver, context, amount = attach().library, ctypes.c_void_p(), ctypes.c_size_t()

    @pytest.fixture(autouse=True)
    def noted(request, pytestconfig):
        with open(pytestconfig.rootpath / "begun.txt", "a") as file:
            file.write(f"{request.node.name} {os.getpid()}\\n")

    @pytest.fixture(scope="module", autouse=True)
    def wide(pytestconfig):
        driver.cuInit(0)
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
        driver.cuCtxSetCurrent(context)
        yield
        with open(pytestconfig.rootpath / "ended.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")

    def uses():
        assert driver.cuMemGetInfo(ctypes.byref(amount), ctypes.byref(amount)) == 0

    def test_first():
        uses()

    BREAKS

    @pytest.mark.parametrize("n", range(5))
    def test_later(n, pytestconfig):
        # Beside it, on another worker, not before it: else nothing may be left to follow it in its own.
        begun, end = pytestconfig.rootpath / "begun.txt", time.monotonic() + 60
        while "test_breaks" not in begun.read_text() and time.monotonic() < end:
            time.sleep(0.01)
        uses()
"""
FAILS = """
    def test_breaks():
        attach().fail(Fault("cuMemGetInfo", code=CODE, sticky=STICKY))
        uses()
"""
EXPECTED = """
    def test_breaks():
        attach().fail(Fault("cuStreamSynchronize", code=719, sticky=True))
        with pytest.raises(Exception, match="LAUNCH_FAILED"):
            cuda.default_stream().synchronize()
"""
SWALLOWED = """
    @pytest.mark.parametrize("n", range(6))
    def test_quiet(n):
        uses()

    def test_breaks():
        attach().fail(Fault("cuMemGetInfo", code=700, sticky=True))
        assert driver.cuMemGetInfo(ctypes.byref(amount), ctypes.byref(amount)) == 700
"""
RERUN = FAILS.replace("def test", "@pytest.mark.flaky(reruns=2)\n    def test")
NUMBA = "from numba import cuda"


def suite(breaks, code=700, sticky=True, imports=""):
    text = SUITE.replace("BREAKS", breaks.strip()).replace("IMPORTS", imports)
    return text.replace("CODE", str(code)).replace("STICKY", str(sticky))


def begun(guarded):
    lines = (guarded.folder / "suite" / "begun.txt").read_text().split("\n")[:-1]
    return dict(line.split() for line in lines), len(lines)


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_its_process_and_blames_nobody_else(guarded, way):
    junit = guarded.folder / "junit.xml"
    result, report = guarded(suite(FAILS), *WAYS[way], f"--junitxml={junit}")
    ran, times = begun(guarded)
    assert result.returncode == 1
    assert times == len(ran)
    (fault,) = report.faults
    assert (fault.kind, fault.code, fault.nodeid) == ("sticky", "GPG403", "test_it.py::test_breaks")
    assert fault.error == "CUDA_ERROR_ILLEGAL_ADDRESS (700) came to light in its call"
    names = [case.get("name") for case in ET.parse(junit).iter("testcase")]
    assert sorted(names) == sorted(ran)
    text = next(f.text for f in ET.parse(junit).iter("failure"))
    assert "GPG403: CUDA_ERROR_ILLEGAL_ADDRESS (700): nothing in this process can use CUDA any more" in text
    assert report.groups == []
    if way == "n2":
        assert result.outcomes == {"failed": 1, "passed": 6}
        assert len(ran) == 7
        others = {pid for name, pid in ran.items() if name != "test_breaks"}
        pid = ran["test_breaks"]
        # The wide fixtures of the process that ended were ended too, and nothing ran in it after the test.
        assert pid in (guarded.folder / "suite" / "ended.txt").read_text().split()
        assert list(ran.values())[-1] in others
        assert "crashed" not in result.stdout.replace("replacing crashed worker", "")
        assert f"{fault.worker} ended after this test, its other tests ran elsewhere" in fault.what
        assert {worker.end for worker in report.workers if worker.id == fault.worker} == {"killed"}
    else:
        assert result.outcomes == {"failed": 1, "passed": 1}
        assert fault.what.startswith(
            "the run ended here, 5 tests did not run: test_it.py::test_later[0], test_it.py::test_later[1]"
        )
        assert "GPG403: CUDA_ERROR_ILLEGAL_ADDRESS (700): 5 tests did not run" in result.stdout
    assert re.search(r"FAULT.*sticky.*GPG403", result.stdout)


@pytest.mark.parametrize("way", WAYS)
def test_an_error_that_does_not_stay_ends_nothing(guarded, way):
    result, report = guarded(suite(FAILS.replace("sticky=", "last=1, sticky="), 700, False), *WAYS[way])
    assert result.outcomes == {"failed": 1, "passed": 6}
    assert report.faults == []


def test_one_that_stays_and_was_expected_is_told_with_its_test(guarded):
    result, report = guarded(suite(EXPECTED, imports=NUMBA), "-n", "1")
    assert result.outcomes == {"passed": 7}
    (fault,) = report.faults
    assert (fault.nodeid, fault.worker) == ("test_it.py::test_breaks", "gw0")
    assert begun(guarded)[1] == 7


def test_one_that_is_swallowed_after_tests_of_which_there_was_nothing_is_told_with_its_test(guarded):
    # Nothing fails and nothing is made: unless the device is asked, the next test is blamed.
    result, report = guarded(suite(SWALLOWED, imports=NUMBA), "-n", "1")
    assert result.outcomes == {"passed": 13}
    assert [fault.nodeid for fault in report.faults] == ["test_it.py::test_breaks"]


def test_a_test_that_is_rerun_is_rerun_before_its_process_ends(guarded):
    result, report = guarded(suite(RERUN), "-n", "2")
    assert result.outcomes == {"failed": 1, "passed": 6, "rerun": 2}
    (fault,) = report.faults
    assert fault.nodeid == "test_it.py::test_breaks"


@pytest.mark.parametrize("dist", ["loadscope", "worksteal"])
def test_whoever_schedules(guarded, dist):
    off = ["--gpuguard-scheduler=off"] if dist == "worksteal" else []
    result, report = guarded(suite(FAILS), "-n", "1", "--dist", dist, *off)
    assert result.returncode == 1
    assert result.outcomes == {"failed": 1, "passed": 6}
    assert len(report.faults) == 1


def test_where_no_test_follows_nothing_has_to_end(guarded):
    result, report = guarded(suite(FAILS), "-n", "1", "-k", "first or breaks")
    assert result.outcomes["failed"] == 1
    assert "node down" not in result.stdout
    assert report.faults[0].what == "no test followed in this process"


def test_an_error_of_the_device_is_told_by_the_test_that_waited_for_it(guarded):
    breaks = """
    def test_breaks():
        there = cuda.device_array(8)
        attach().fail(Fault("copy", code=719))
        there.copy_to_host()
    """
    result, report = guarded(suite(breaks, imports=NUMBA), "-n", "2")
    assert result.outcomes == {"failed": 1, "passed": 6}
    assert [fault.nodeid for fault in report.faults] == ["test_it.py::test_breaks"]


def test_a_synchronisation_that_hangs_holds_up_no_verdict(guarded):
    hang = [Fault("cuCtxSynchronize", hang=True)]
    breaks = "def test_breaks():\n        uses()\n        assert False"
    result, report = guarded(suite(breaks), faults=hang, hang_limit=600)
    assert result.outcomes == {"failed": 1, "passed": 6}
    assert report.faults == []


def test_the_question_starts_nothing_and_makes_no_context(fake_lane):
    result = fake_lane.script(
        """
        import ctypes
        from pytest_gpuguard.devices.health import device_in_use, glance, unusable
        print(unusable(60), glance(), device_in_use())  # nobody has loaded the driver
        from tests.fakecuda.control import attach
        driver = attach()
        print(unusable(60), glance(), device_in_use())  # loaded, not started
        driver.library.cuInit(0)
        print(unusable(60), glance(), device_in_use())  # started, without a context
        looks = {"cuCtxGetCurrent", "cuDeviceGetCount"}
        print([call.name for call in driver.calls() if call.name not in looks])
        """
    )
    *answers, calls = result.check().stdout.splitlines()
    assert answers == ["0 0 None"] * 3
    assert calls == "['cuInit', 'cuDevicePrimaryCtxGetState']"


COVERAGE = """
    import sys, types
    from pathlib import Path

    class Coverage:
        @classmethod
        def current(cls):
            return cls()
        def stop(self):
            self.stopped = True
        def save(self):
            Path(__file__).with_name("saved.txt").write_text(str(self.stopped))

    sys.modules["coverage"] = types.SimpleNamespace(Coverage=Coverage)
"""


def test_what_coverage_has_measured_is_saved_before_a_worker_leaves(guarded):
    (guarded.folder / "suite" / "conftest.py").write_text(textwrap.dedent(COVERAGE))
    result, _ = guarded(suite(FAILS), "-n", "1")
    assert result.outcomes == {"failed": 1, "passed": 6}
    assert (guarded.folder / "suite" / "saved.txt").read_text() == "True"
