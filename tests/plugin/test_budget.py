"""One lease per test: claimed before the clock starts, never too much in all, freed whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from pytest_gpuguard import Budget

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of budgets of its own for each test."""
    (tmp_path / "budget").mkdir()
    monkeypatch.setenv("BUDGET", str(tmp_path / "budget"))
    monkeypatch.setenv("TOGETHER", str(tmp_path / "together"))
    return tmp_path / "budget"


def options(folder, *more, pinned="100MiB"):
    return f"--gpuguard-budget=pinned={pinned}", f"--gpuguard-budget-dir={folder}", *more


@contextlib.contextmanager
def somebody_holds(folder, amount, seconds=60.0):
    """Hold ``amount`` of 100 MiB outside of the run, until somebody has waited for it for so long."""
    over = threading.Event()

    def free():
        while not (over.wait(0.05) or budget.snapshot().waiters):
            pass
        over.wait(seconds)
        lease.release()

    with Budget({"pinned": "100 MiB"}, folder, label="the other run") as budget:
        lease = budget.acquire({"pinned": amount})
        thread = threading.Thread(target=free)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


HEAVY = """
    import time
    import pytest
    from together import using

    @pytest.mark.gpu(pinned="60 MiB")
    @pytest.mark.parametrize("n", range(4))
    def test_heavy(n):
        with using(60):
            time.sleep(0.1)
"""


def test_two_runs_at_once_never_hold_more_than_there_is_and_both_end(run_plain, folder, tmp_path):
    run_plain.pytester.makepyfile(test_it=HEAVY)
    command = [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "--gpuguard"]
    runs = [
        subprocess.Popen(
            [*command, *options(folder)], stdout=subprocess.PIPE, text=True, cwd=run_plain.pytester.path
        )
        for _ in range(2)
    ]
    outputs = [run.communicate(timeout=200)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    # Judged outside of the ledger: by a number under a lock, kept by the tests themselves.
    now, most, entries = json.loads((tmp_path / "together").read_text())
    assert (now, most, entries) == (0, 60, 8)
    assert any("for a lease" in output for output in outputs), outputs


BASICS = """
    import pytest
    from together import held

    MIB = 1 << 20

    @pytest.fixture
    def seen_in_setup():
        return held()

    @pytest.mark.gpu(pinned="10 MiB")
    class TestMarked:
        def test_of_class(self, seen_in_setup):
            assert seen_in_setup >= 10 * MIB

        @pytest.mark.gpuguard(pinned="20 MiB")
        def test_the_closest_wins(self, seen_in_setup):
            assert seen_in_setup >= 20 * MIB

    @pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.gpu(pinned="30 MiB"))])
    @pytest.mark.gpu(pinned=1)
    def test_one_parameter(n, seen_in_setup):
        assert seen_in_setup >= 30 * MIB

    @pytest.mark.gpu(pinned="200 MiB")
    @pytest.mark.skip(reason="nothing is claimed for it")
    def test_skipped(): pass

    @pytest.mark.gpu(pinned="200 MiB")
    def test_too_large(seen_in_setup):
        raise AssertionError("must not run")

    @pytest.mark.gpu(resources={"licence": 1})
    def test_of_what_nobody_has_a_budget(): pass

    def test_unmarked(): pass
"""


def test_a_claim_covers_setup_and_what_can_never_be_had_fails_alone(run, folder):
    inner = run.watched(*options(folder), test_it=BASICS)
    assert inner.outcomes == {
        "TestMarked::test_of_class": "passed",
        "TestMarked::test_the_closest_wins": "passed",
        "test_one_parameter[1]": "passed",
        "test_skipped": "setup skipped",
        "test_too_large": "setup failed",
        "test_of_what_nobody_has_a_budget": "setup skipped",
        "test_unmarked": "passed",
    }
    assert "GPG303: asked for 200.0 MiB pinned; the whole budget is 100.0 MiB" in inner.text("test_too_large")
    assert Budget({}, folder).snapshot().holders == ()
    assert f"gpuguard: budget in {folder}" in inner.out


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (["--gpuguard-oversize=skip"], "setup skipped"),
        (["--gpuguard-budget=pinned.regions=5"], "setup skipped"),
        (["--gpuguard-budget=pinned.regions=5", "--gpuguard-oversize=fail"], "setup failed"),
    ],
    ids=["asked to skip", "derived", "derived, asked to fail"],
)
def test_oversize_follows_the_switch_and_who_set_the_limit(run_plain, folder, given, outcome):
    source = 'import pytest\n@pytest.mark.gpu(pinned="200 TiB")\ndef test_it(): pass'
    inner = run_plain.watched(*options(folder), *given, test_it=source)
    assert inner.outcomes == {"test_it": outcome}
    assert "GPG303: asked for 200.00 TiB pinned; the whole budget is" in inner.text("test_it")


def test_a_wrong_mark_names_test_keyword_and_what_is_known(run, folder):
    source = "import pytest\n@pytest.mark.gpu(pined=1)\ndef test_it(): pass\ndef test_other(): pass"
    inner = run.watched(*options(folder), test_it=source)
    said = "GPG501: test_it.py::test_it: mark gpu: unknown keyword 'pined'; known are memory, pinned"
    assert said in inner.out + inner.err
    assert "INTERNALERROR" not in inner.out + inner.err
    if "-n" in run.way and "2" in run.way:
        assert inner.outcomes == {"test_it": "setup failed", "test_other": "passed"}
    else:
        assert inner.ret == pytest.ExitCode.USAGE_ERROR


def test_a_mark_that_the_project_registers_is_left_to_it(run_plain, folder):
    run_plain.pytester.makeini("[pytest]\nmarkers = gpu(kind): of the project\nstrict_markers = true\n")
    inner = run_plain.watched(
        *options(folder),
        test_it="""
            import pytest
            from together import held

            @pytest.mark.gpu("any", pined=1)
            @pytest.mark.gpuguard(pinned=7)
            def test_it():
                assert held() == 7
        """,
    )
    assert inner.outcomes == {"test_it": "passed"}
    assert "of the project" in run_plain("--markers").out


WAITING = """
    import pytest

    @pytest.fixture
    def quick():
        pass

    @pytest.mark.gpu(pinned="60 MiB")
    def test_waits(quick): pass

    def test_does_not(): pass
"""


def test_who_ran_out_of_patience_names_the_holder_and_the_run_goes_on(run, folder):
    with somebody_holds(folder, "60 MiB"):
        inner = run.watched(*options(folder, "--gpuguard-wait=0.5s"), test_it=WAITING)
    assert inner.outcomes == {"test_waits": "setup failed", "test_does_not": "passed"}
    text = inner.text("test_waits")
    assert "GPG301: asked for 60.0 MiB pinned, 1 pinned.regions, 1 gpu.sim.slots, gave up after" in text
    assert re.search(r"pid \d+  the other run +60\.0 MiB pinned", text), text
    assert "Traceback" not in text
    (wait,) = inner.report.waits
    assert (wait.end, wait.blocked_by) == ("timeout", ["the other run"])


def test_neither_a_timeout_nor_a_stall_counts_the_wait(run, folder):
    check_that_no_clock_counts_the_wait(run, folder, "signal")


def test_the_thread_of_a_timeout_does_not_count_the_wait_either(run_plain, folder):
    check_that_no_clock_counts_the_wait(run_plain, folder, "thread")


def check_that_no_clock_counts_the_wait(run, folder, method):
    """Wait longer than pytest-timeout and both limits of stalls would allow."""
    run.pytester.makepyfile(test_it=WAITING)
    limits = (
        "--gpuguard-stall=1.5s",
        "--gpuguard-stall-end=2s",
        "--timeout=2",
        f"--timeout-method={method}",
    )
    with somebody_holds(folder, "60 MiB", seconds=3):
        inner = run.watched(*options(folder, "-v", *limits, "--junitxml=junit.xml"))
    assert inner.outcomes == {"test_waits": "passed", "test_does_not": "passed"}
    assert inner.report.stalls == []
    (wait,) = inner.report.waits
    assert (wait.nodeid, wait.end) == ("test_it.py::test_waits", "granted")
    assert wait.amounts == {"pinned": 60 * MIB, "pinned.regions": 1, "gpu.sim.slots": 1}
    assert wait.blocked_by == ["the other run"]
    assert wait.ended - wait.began > 2.5
    waited = re.search(r'name="gpuguard.waited_s" value="([\d.]+)"', (inner.folder / "junit.xml").read_text())
    assert float(waited[1]) == pytest.approx(wait.ended - wait.began, abs=0.01)
    assert re.search(r"gpuguard: 1 wait for a lease, [\d.]+ s in all, longest [\d.]+ s", inner.out)
    assert re.search(r"test_waits  \w+, granted, after the other run", inner.out)


def test_reruns_keep_the_lease(run, folder):
    inner = run.watched(
        *options(folder, "--reruns=2"),
        test_it="""
            import pytest
            from pathlib import Path
            from together import held, using

            @pytest.mark.gpu(pinned="60 MiB")
            def test_fails_twice():
                with Path("held").open("a") as file:
                    file.write(f"{held() >> 20} ")
                assert len(Path("held").read_text().split()) == 3
        """,
    )
    assert inner.outcomes["test_fails_twice"].endswith("passed")
    assert (inner.folder / "held").read_text() == "60 60 60 "
    assert inner.report.waits == []


def test_a_killed_worker_frees_what_its_test_held(run_plain, folder):
    run_plain.way = ["-n", "2"]
    inner = run_plain.watched(
        *options(folder, "--gpuguard-wait=120s"),
        test_it="""
            import os, signal, time
            import pytest

            @pytest.mark.gpu(pinned="100 MiB")
            def test_dies():
                os.kill(os.getpid(), signal.SIGKILL)

            @pytest.mark.gpu(pinned="100 MiB")
            @pytest.mark.parametrize("n", range(3))
            def test_others(n): pass
        """,
    )
    inner.outcomes.pop("test_dies", None)
    assert inner.outcomes == {f"test_others[{n}]": "passed" for n in range(3)}
    assert "crashed while running 'test_it.py::test_dies'" in inner.out
    assert Budget({}, folder).snapshot().holders == ()


def test_the_dossier_of_a_stall_names_what_is_held_by_whom(run, folder):
    inner = run.watched(
        # Our scheduler would keep them apart.
        *options(folder, "--gpuguard-stall-end=1s", "--gpuguard-wait=120s", "--gpuguard-scheduler=off"),
        test_it="""
            import time
            import pytest

            @pytest.mark.gpu(pinned="60 MiB")
            @pytest.mark.parametrize("n", range(2))
            def test_heavy(n):
                time.sleep(100)
        """,
    )
    assert inner.outcomes == {"test_heavy[0]": "failed", "test_heavy[1]": "failed"}
    text = inner.text("test_heavy[0]") + inner.text("test_heavy[1]")
    for number in (0, 1):
        assert re.search(rf"holds 60\.0 MiB pinned, .* for test_it\.py::test_heavy\[{number}\] since", text)
    if "2" in run.way:
        assert re.search(r"waits for 60\.0 MiB pinned, 1 pinned\.regions, .* since", text), text


def test_a_run_that_is_interrupted_while_it_waits_ends_at_once(run_plain, folder):
    run_plain.pytester.makepyfile(test_it=WAITING)
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "--gpuguard", *options(folder)]
    with somebody_holds(folder, "60 MiB"):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=run_plain.pytester.path)
        budget, end = Budget({}, folder), time.monotonic() + 90
        while not budget.snapshot().waiters and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=90)[0]
        assert budget.snapshot().waiters == ()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output


def test_a_budget_that_cannot_be_used_fails_tests_and_not_the_run(run_plain, folder):
    source = "import pytest\n@pytest.mark.gpu(pinned=1)\ndef test_it(): pass\ndef test_other(): pass"
    (folder / f"gpuguard-{os.geteuid()}").write_text("in the way")
    inner = run_plain.watched(*options(folder), test_it=source)
    assert inner.outcomes == {"test_it": "setup failed", "test_other": "passed"}
    assert str(folder) in inner.text("test_it")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("budget=pinned=50%", r"--gpuguard-budget \(command line\): '50%' is a percentage"),
        ("budget=pinned", r"'pinned' is not NAME=AMOUNT such as 'pinned=2GiB'"),
        ("budget=a b=1", r"a resource is named by"),
        ("pool=a/b", r"--gpuguard-pool \(command line\): a pool is named by"),
        ("wait=soon", r"--gpuguard-wait \(command line\): 'soon' is not an amount"),
        ("oversize=pass", r"--gpuguard-oversize .* expected one of fail, skip"),
        ("context=much", r"--gpuguard-context \(command line\): 'much' is not an amount"),
    ],
)
def test_a_wrong_switch_is_a_usage_error(run_plain, given, said):
    inner = run_plain("--gpuguard", f"--gpuguard-{given}", test_it="def test_it(): pass")
    assert inner.ret == pytest.ExitCode.USAGE_ERROR
    assert re.search(f"GPG501: .*{said}", inner.err + inner.out), inner.err


def test_what_was_held_over_time_is_in_the_record(run):
    inner = run.watched(
        "--gpuguard-budget=pinned=1GiB",
        test_it="""
            import pytest

            @pytest.mark.gpu(pinned="64 MiB")
            @pytest.mark.parametrize("n", range(2))
            def test_holds(n): pass

            def test_holds_nothing(): pass
        """,
    )
    report = inner.report
    assert report.limits["pinned"] == 1 << 30
    held = [series for series in report.levels if series.resource == "pinned"]
    assert {series.worker for series in held} <= {worker.id for worker in report.workers}
    assert all(series.amount[-1] == 0 for series in held)
    assert {amount for series in held for amount in series.amount} == {0, 64 << 20}
    assert all(series.at == sorted(series.at) for series in held)
    reserved = {span.nodeid.partition("::")[2]: (span.reserved or {}).get("pinned") for span in report.tests}
    assert reserved == {"test_holds[0]": 64 << 20, "test_holds[1]": 64 << 20, "test_holds_nothing": None}
    assert "gpuguard: pinned peak " in inner.out
    assert " of 1.00 GiB" in inner.out
