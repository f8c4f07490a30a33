"""The record of a run: complete, readable by its model, silent about the machine, there whatever happens."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pytest_gpuguard.report.places import PLACE
from pytest_gpuguard.report.runs import load

SUITE = """
    import os, threading
    from pathlib import Path
    import pytest
    from watcher import Watcher

    @pytest.fixture
    def leaky():
        return Watcher().start()

    @pytest.fixture(scope="module")
    def wide():
        yield Watcher().start()

    def test_leaks(leaky, wide): pass

    def test_skips():
        pytest.skip("planted")

    def test_changes_the_folder(tmp_path):
        os.chdir(tmp_path)

    def test_dies():
        def work():
            raise FileNotFoundError(f"no file {Path(__file__).parent}/data.bin nor /etc/data.bin")
        thread = threading.Thread(target=work, name="dies")
        thread.start()
        thread.join()

    def test_fails():
        assert 0
"""


def test_a_cache_that_is_cleared_is_cleared_once(run):
    # By workers too it would be, with the folder of the run in it.
    suite = """
        import pytest, time

        @pytest.mark.parametrize("n", range(4))
        def test_slow(n):
            time.sleep(0.2)
    """
    old = run.pytester.path / ".pytest_cache" / "d" / "old"
    old.mkdir(parents=True)
    inner = run.watched("--cache-clear", test_it=suite)
    assert inner.ret == 0, inner.out + inner.err
    assert not old.exists()
    assert "could not be written" not in inner.out
    assert len(inner.report.tests) == 4


def test_the_record_says_it_all_and_nothing_of_the_machine(run):
    folder = run.pytester.path
    inner = run.watched(f"--gpuguard-report={folder}/out", "-v", "--gpuguard-leaks=error", test_it=SUITE)
    report = inner.report
    workers = {"gw0", "gw1"} if "2" in run.way else {"main"}
    assert (report.schema_version, report.tool) == (1, "pytest-gpuguard")
    assert {worker.id for worker in report.workers} <= workers
    assert {(worker.end, worker.unable) for worker in report.workers} == {("ok", None)}
    assert all(worker.pid != os.getpid() for worker in report.workers)
    assert report.run.exit_status == inner.ret == 1
    assert 0 < report.run.duration_s < 100
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\+00:00", report.run.started)
    by_name = {span.nodeid.partition("::")[2]: span for span in report.tests}
    assert {name: span.outcome for name, span in by_name.items()} == {
        "test_leaks": "failed",
        "test_skips": "skipped",
        "test_changes_the_folder": "passed",
        "test_dies": "passed",
        "test_fails": "failed",
    }
    assert all(0 <= span.start <= span.stop <= report.run.duration_s + 1 for span in report.tests)
    leaks = {leak.id: leak for group in report.groups for leak in group.leaks}
    (mine,) = [leak for leak in leaks.values() if leak.judged_at == "function"]
    (wide,) = [leak for leak in leaks.values() if leak.judged_at == "module"]
    assert mine.id in by_name["test_leaks"].leak_ids
    assert mine.judged_node == "test_it.py::test_leaks"
    assert wide.judged_node == "test_it.py"
    assert (mine.origin.fixture.made, mine.origin.fixture.closing, mine.origin.fixture.yields) == (
        "Watcher",
        "close",
        False,
    )
    assert wide.origin.fixture.yields
    assert mine.subject.now[-1].function == "Condition.wait"
    assert mine.created_at < mine.found_at
    assert mine.settled_for_s >= 0.2
    assert report.verdict.leaks == len(report.groups) == 2
    (death,) = report.deaths
    assert (death.thread, death.nodeid, death.interrupted) == ("dies", "test_it.py::test_dies", False)
    text = (folder / "out/report.json").read_text()
    assert json.loads(text) == json.loads(
        next((folder / ".pytest_cache/d/gpuguard").glob("*/report.json")).read_text()
    )
    for private in (str(folder), str(Path.home()), "/tmp", os.path.realpath(os.sys.prefix)):
        assert private not in text, private
    assert "no file data.bin nor <elsewhere>/data.bin" in text
    assert (folder / "out/.gitignore").read_text() == "*\n"


def test_under_ci_the_record_is_exported_beside_the_suite(run):
    run.setenv("CI", "true")
    inner = run.watched(
        test_it="""
            import os
            def test_changes_the_folder(tmp_path):
                os.chdir(tmp_path)
        """
    )
    exported = inner.folder / ".gpuguard"
    assert sorted(path.name for path in exported.iterdir()) == [
        ".gitignore",
        "index.html",
        "report.json",
        "trace.json",
    ]
    assert inner.report.settings["report"].source == "CI"


def test_a_folder_that_was_there_is_not_taken_over(run_plain):
    folder = run_plain.pytester.mkdir("mine")
    (folder / "stacks").mkdir()
    (folder / "stacks" / "hay.txt").write_text("mine")
    (folder / "stacks" / "main-12.txt").write_text("of an earlier export")
    run_plain.watched("--gpuguard-report=mine", test_it="def test_it(): pass")
    assert sorted(path.name for path in folder.iterdir()) == [
        "index.html",
        "report.json",
        "stacks",
        "trace.json",
    ]
    assert [path.name for path in (folder / "stacks").iterdir()] == ["hay.txt"]


def test_a_page_of_somebody_else_is_not_overwritten(run_plain):
    folder = run_plain.pytester.mkdir("mine")
    (folder / "index.html").write_text("<h1>mine</h1>")
    inner = run_plain.watched("--gpuguard-report=mine", test_it="def test_it(): pass")
    assert inner.ret == 0
    assert (folder / "index.html").read_text() == "<h1>mine</h1>"
    assert "index.html is there and not ours" in inner.out
    assert inner.report.run.exit_status == 0


def test_what_an_export_left_the_next_one_replaces(run_plain):
    run_plain.watched("--gpuguard-report=mine", test_it="def test_one(): pass")
    run_plain.watched("--gpuguard-report=mine", test_it="def test_two(): pass")
    assert "test_two" in (run_plain.pytester.path / "mine" / "index.html").read_text()
    assert "test_two" in (run_plain.pytester.path / "mine" / "trace.json").read_text()


def test_github_gets_a_summary_and_annotations_once(run):
    """Once, however many processes there are; at the start of a line, without colour before it."""
    summary = run.pytester.path / "summary.md"
    run.setenv("GITHUB_ACTIONS", "true")
    run.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run.setenv("GITHUB_SHA", "abc123")
    inner = run.watched("--color=yes", test_it=SUITE)
    lines = [line for line in inner.out.splitlines() if "::error" in line]
    assert len(lines) == 2
    assert all("GPG101 new leak" in line for line in lines)
    assert all(line.startswith("::error ") for line in lines)
    text = summary.read_text()
    assert text.count("### gpuguard") == 1
    assert "2 leaks" in text
    assert (inner.report.run.ci.provider, inner.report.run.ci.sha) == ("github", "abc123")


def test_the_section_has_a_dial_of_its_own(run_plain):
    leaks = "\n".join(
        f"def test_{n}():\n    import threading; threading.Thread(target=print_{n}.wait, daemon=True).start()"
        for n in range(2)
    )
    suite = "import threading\nprint_0, print_1 = threading.Event(), threading.Event()\n" + leaks
    (run_plain.pytester.path / "pytest.ini").write_text("[pytest]\nverbosity_gpuguard = 1\n")
    loud = run_plain.watched("-q", test_it=suite)
    assert any(line.startswith("  now ") for line in loud.section)
    (run_plain.pytester.path / "pytest.ini").write_text("[pytest]\nverbosity_gpuguard = -1\n")
    quiet = run_plain.watched("-v")
    assert quiet.section
    assert not any(line.startswith("  now ") for line in quiet.section)
    assert "gpuguard: 2 threads seen" not in quiet.out


def test_junit_files_have_the_figures_of_each_test(run):
    inner = run.watched(
        "--junitxml=junit.xml",
        "--gpuguard-budget=pinned=1GiB",
        test_it="""
            import pytest
            from watcher import Watcher

            def test_leaks():
                Watcher().start()

            @pytest.mark.gpu(pinned="1 MiB")
            def test_claims(): pass

            def test_clean(): pass
        """,
    )
    cases = {
        case.get("name"): {entry.get("name"): entry.get("value") for entry in case.iter("property")}
        for case in ET.parse(inner.folder / "junit.xml").iter("testcase")
    }
    assert cases == {"test_leaks": {"gpuguard.leaks": "1"}, "test_claims": {}, "test_clean": {}}


def test_the_last_five_runs_are_kept_and_a_living_one_besides(run_plain):
    """A long run starts first; six short ones beside it must not take its folder."""
    pytester = run_plain.pytester
    pytester.makepyfile(
        test_long="""
            import time
            from pathlib import Path
            def test_it():
                end = time.monotonic() + 60
                while not Path("over").exists() and time.monotonic() < end:
                    time.sleep(0.05)
        """
    )
    long = {}
    runs = pytester.path / ".pytest_cache/d/gpuguard"
    thread = threading.Thread(target=lambda: long.update(done=run_plain.watched("test_long.py")))
    thread.start()
    try:
        while not (runs.exists() and list(runs.glob("[!.]*"))):
            assert thread.is_alive()
        (living,) = runs.glob("[!.]*")
        for number in range(6):
            pytester.makepyfile(**{f"test_short{number}": "def test_it(): pass"})
            assert (
                pytester.runpytest_inprocess("--gpuguard", "-p", "no:xdist", f"test_short{number}.py").ret
                == 0
            )
        kept = sorted(path.name for path in runs.iterdir())
        # It is the oldest one. Of the short ones the first is gone.
        assert len(kept) == 6
        assert kept[0] == living.name
    finally:
        (pytester.path / "over").touch()
        thread.join(60)
    assert long["done"].ret == 0
    assert (living / "report.json").exists()


def test_what_was_sent_before_a_worker_died_is_there(run_two):
    inner = run_two.watched(
        test_it="""
            import os
            import pytest
            from watcher import Watcher

            @pytest.mark.parametrize("n", range(8))
            def test_leaks(n):
                Watcher().start()

            def test_crashes():
                os._exit(3)
        """,
    )
    report = inner.report
    assert sum(group.totals.occurrences for group in report.groups) == 8
    ends = {worker.id: worker.end for worker in report.workers}
    (crashed,) = [span for span in report.tests if span.nodeid.endswith("test_crashes")]
    assert crashed.outcome == "failed"
    assert 0 < crashed.start <= crashed.stop <= report.run.duration_s + 1
    assert ends[crashed.worker] == "crashed"
    assert {worker.end for worker in report.workers if worker.id != crashed.worker} == {"ok"}


DIES_SECOND = """
    import os, signal

    def test_nothing(): pass

    def test_dies():
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_first_test_tells_of_its_process_though_nothing_has_moved(run_two):
    args = ("--dist=loadfile", "--gpuguard-leak-kinds=device")
    inner = run_two("--gpuguard", *args, test_it=DIES_SECOND)
    dead = [worker for worker in inner.report.workers if worker.end == "crashed"]
    assert [bool(worker.mode) for worker in dead] == [True]


def test_a_worker_that_dies_at_once_is_named(run_two):
    inner = run_two.watched(
        test_it="""
            import os
            def test_crashes():
                os._exit(3)
        """
    )
    assert "crashed" in {worker.end for worker in inner.report.workers}
    assert "main" not in {worker.id for worker in inner.report.workers}
    assert {span.worker[:2] for span in inner.report.tests} == {"gw"}


@pytest.mark.parametrize(
    ("args", "source"),
    [
        (["--no-such-option"], "def test_it(): pass"),
        (["no_such_file.py"], "def test_it(): pass"),
        ([], "import no_such_module"),
        (["-k", "nothing"], "def test_it(): pass"),
    ],
)
def test_a_run_without_tests_ends_as_it_would_without_us(run, args, source):
    inner = run.watched(*args, test_it=source)
    code = run(*args).ret
    assert inner.ret == code != 0
    assert "INTERNALERROR" not in inner.out + inner.err
    assert "Traceback" not in inner.err
    assert "in 0 tests" not in inner.out
    assert not list(inner.folder.glob(".pytest_cache/d/gpuguard/*"))


def test_a_cache_that_cannot_be_written_costs_the_journal_alone(run):
    (run.pytester.path / ".pytest_cache").write_text("no folder")
    inner = run.watched("--gpuguard-report=out", test_it="def test_it(): pass")
    assert inner.ret == 0
    assert (inner.folder / "out/report.json").exists()


def test_without_a_cache_nothing_stays_behind(run):
    scratch = run.pytester.mkdir("scratch")
    run.setenv("TMPDIR", str(scratch))
    inner = run.watched("-p", "no:cacheprovider", test_it="def test_it(): pass")
    assert inner.ret == 0
    assert [path for path in scratch.iterdir() if path.name.startswith("gpuguard")] == []


WITHOUT_TESTS = [
    (["--collect-only"], 0),
    (["nowhere.py"], 4),
    (["-k", "nothing"], 5),
    (["--no-such-switch"], 4),
]


def test_where_no_test_ran_there_is_no_record_and_the_last_run_stays_the_last(run):
    first = run.watched(test_it="def test_it(): pass")
    runs = first.folder / ".pytest_cache" / "d" / "gpuguard"
    before = sorted(runs.iterdir())
    for args, ret in WITHOUT_TESTS:
        inner = run.watched(f"--gpuguard-report={first.folder}/out", "--gpuguard-require=none", *args)
        assert inner.ret in {ret, 5}, args  # xdist says so of a file that is not there
        assert "gpuguard: nothing seen" not in inner.out, args
        assert sorted(runs.iterdir()) == before, args
        assert not (first.folder / "out").exists(), args
    assert [span.outcome for span in first.report.tests] == ["passed"]


def test_where_no_test_ran_but_the_run_fails_for_it_there_is_a_record(run):
    inner = run.watched(
        "--gpuguard-require=gpu", test_it="import pytest\npytest.skip('x', allow_module_level=True)"
    )
    assert inner.ret in {1, 5}
    assert "GPG406" in inner.report.failed_by[0]


def test_what_only_collects_does_not_fail_for_a_device_that_nothing_could_use(run):
    assert run.watched("--collect-only", "--gpuguard-require=gpu", test_it="def test_it(): pass").ret == 0


FORKED = """
    import os

    parent = os.getpid()

    def test_forks():
        child = os.fork()
        if not child:
            raise RuntimeError("the child goes on as a second pytest")
        os.waitpid(child, 0)

    def test_later():
        pass
"""


KILLED = """
    def test_kills():
        if os.getpid() == parent:
            os.kill(parent, 9)
"""


def test_what_a_killed_parent_leaves_is_not_what_its_forked_child_has_done(run_plain):
    inner = run_plain.watched(test_it=FORKED + KILLED)
    assert inner.ret == -9
    (left,) = (inner.folder / ".pytest_cache" / PLACE).iterdir()
    report = load(left)
    assert [(span.nodeid.partition("::")[2], span.outcome) for span in report.tests] == [
        ("test_forks", "passed"),
        ("test_later", "passed"),
    ]
    assert [span.nodeid for span in report.unfinished] == ["test_it.py::test_kills"]


def test_a_child_that_goes_on_as_a_second_pytest_leaves_the_record_alone(run_plain):
    inner = run_plain.watched(test_it=FORKED)
    assert {span.nodeid.partition("::")[2]: span.outcome for span in inner.report.tests} == {
        "test_forks": "passed",
        "test_later": "passed",
    }


def test_a_folder_with_a_space_is_named_whole(run_plain):
    folder = run_plain.pytester.path / "two words, 'é'"
    folder.mkdir()
    (folder / "test_it.py").write_text("def test_it(): pass")
    inner = run_plain.watched("--rootdir", str(folder), f"--gpuguard-report={folder}/out", str(folder))
    assert "gpuguard: report in out/index.html" in inner.out
