"""When the plugin watches, what it leaves untouched otherwise, and how its switches are read."""

from __future__ import annotations

import json
import re
import sys
import textwrap

import pytest

STATE = """
    import json, signal, sys, threading
    from pathlib import Path

    def patched():
        handlers = [signal.getsignal(number) for number in range(signal.SIGRTMIN, signal.SIGRTMAX)]
        tasks = list(Path("/proc/self/task").iterdir())
        return {
            "start": threading.Thread.start.__code__.co_filename != threading.__file__,
            "hook": "gpuguard" in str(getattr(threading.excepthook, "__module__", "")),
            "signal": any(callable(handler) for handler in handlers),
            "monitor": len(tasks) > threading.active_count(),
        }

    def test_it():
        Path("state.json").write_text(json.dumps(patched()))
"""

ACTIVE = {"start": True, "hook": True, "signal": True, "monitor": True}
INACTIVE = dict.fromkeys(ACTIVE, False)


def _state(inner):
    assert inner.outcomes == {"test_it": "passed"}
    return json.loads((inner.folder / "state.json").read_text())


@pytest.fixture
def suite(run):
    run.pytester.makepyfile(test_it=STATE)
    return run


def test_without_being_asked_nothing_is_touched_and_nothing_said(suite):
    inner = suite()
    assert _state(inner)["start"] is _state(inner)["hook"] is _state(inner)["signal"] is False
    assert "gpuguard:" not in inner.out
    assert not (inner.folder / ".pytest_cache/d/gpuguard").exists()


def test_the_command_line_asks_for_it(suite):
    assert _state(suite("--gpuguard")) == ACTIVE


def test_the_environment_asks_for_it(suite):
    suite.setenv("GPUGUARD", "1")
    assert _state(suite()) == ACTIVE


def test_the_ini_asks_for_it(suite):
    suite.pytester.makeini("[pytest]\ngpuguard = true\n")
    assert _state(suite()) == ACTIVE


def test_off_is_asked_for_from_anywhere_and_the_nearest_wins(run_plain):
    run_plain.pytester.makepyfile(test_it=STATE)
    run_plain.pytester.makeini("[pytest]\ngpuguard = true\n")
    run_plain.setenv("GPUGUARD", "0")
    assert _state(run_plain()) == INACTIVE
    assert _state(run_plain("--gpuguard")) == ACTIVE
    run_plain.setenv("GPUGUARD", "1")
    assert _state(run_plain("--no-gpuguard")) == INACTIVE


def test_native_toml_asks_for_it(suite):
    suite.pytester.makepyprojecttoml(
        """
        [tool.pytest]
        gpuguard = true
        gpuguard_settle = "0.2s"
        gpuguard_stall_end = "0"
        gpuguard_stall = "12.5"
        gpuguard_reap = true
        """
    )
    inner = suite("-v")
    assert _state(inner) == ACTIVE
    for said in ("settle=0.2s (ini)", "stall-end=0 (ini)", "stall=12.5 (ini)", "reap=true (ini)"):
        assert said in inner.out
    assert inner.report.settings["stall-end"].value == "0"


def test_without_xdist_there_is_not_even_a_monitor(run_plain):
    run_plain.pytester.makepyfile(test_it=STATE)
    assert _state(run_plain()) == INACTIVE


def test_the_nearest_source_wins_and_the_header_names_it(run):
    run.pytester.makeini("[pytest]\ngpuguard_settle = 1s\ngpuguard_stall = 100s\ngpuguard_leaks = error\n")
    run.setenv("GPUGUARD_SETTLE", "0.5s")
    run.setenv("GPUGUARD_STALL", "200s")
    inner = run("--gpuguard", "-v", "--gpuguard-settle=250ms", test_it="def test_it(): pass")
    (header,) = [line for line in inner.out.splitlines() if line.startswith("gpuguard: leaks")]
    assert header.startswith("gpuguard: leaks=error (ini), leak-kinds=thread,process,pinned,")
    assert "settle=250ms (command line), reap=false (default), thread-death=fail (default)" in header
    assert "stall=200s (environment), stall-end=30min (default), budget=none (default)" in header
    settings = {name: (setting.value, setting.source) for name, setting in inner.report.settings.items()}
    assert settings["settle"] == ("250ms", "command line")
    assert settings["stall"] == ("200s", "environment")
    assert settings["leaks"] == ("error", "ini")


@pytest.mark.parametrize(
    ("args", "environment", "ini", "said"),
    [
        (["--gpuguard-leaks=loud"], {}, "", r"--gpuguard-leaks \(command line\).*'loud'.*off, report, error"),
        ([], {"GPUGUARD_SETTLE": "soon"}, "", r"GPUGUARD_SETTLE \(environment\).*'soon'.*'2s'"),
        ([], {}, "gpuguard_stall = -3s", r"gpuguard_stall \(ini\).*'-3s'.*'2s'"),
        ([], {"GPUGUARD_REAP": "maybe"}, "", r"GPUGUARD_REAP \(environment\).*'maybe'.*yes, no"),
        ([], {"GPUGUARD": "perhaps"}, "", r"GPUGUARD \(environment\).*'perhaps'.*yes, no"),
        ([], {}, "gpuguard_reap = maybe", r"gpuguard_reap \(ini\).*maybe"),
        (
            ["--gpuguard-report=test_it.py"],
            {},
            "",
            r"--gpuguard-report \(command line\).*'test_it.py'.*folder",
        ),
    ],
)
def test_a_value_that_cannot_be_read_is_a_usage_error(run_plain, args, environment, ini, said):
    for name, value in environment.items():
        run_plain.setenv(name, value)
    run_plain.pytester.makeini(f"[pytest]\n{ini}\n")
    asked = [] if "GPUGUARD" in environment else ["--gpuguard"]
    inner = run_plain(*asked, *args, test_it="def test_it(): pass")
    assert inner.ret == 4
    assert "Traceback" not in inner.err + inner.out
    assert re.search(rf"ERROR: GPG501: {said}", inner.err)


TYPED = """
    gpuguard_settle = 1
    gpuguard_stall = 12.5
    gpuguard_stall_end = 0
    gpuguard_context = 1048576
    gpuguard_leak_kinds = ["thread", "fd"]
    gpuguard_budget = ["pinned=1GiB", "licence=2"]
"""


@pytest.mark.parametrize("table", ["tool.pytest", "tool.pytest.ini_options"])
def test_numbers_and_lists_of_toml_are_taken(run_plain, table):
    run_plain.pytester.makepyprojecttoml(f"[{table}]\n{textwrap.dedent(TYPED)}")
    inner = run_plain("--gpuguard", test_it="def test_it(): pass")
    assert inner.ret == 0, inner.err
    values = {name: entry.value for name, entry in inner.report.settings.items() if entry.source == "ini"}
    assert values == {
        "settle": "1",
        "stall": "12.5",
        "stall-end": "0",
        "context": "1048576",
        "leak-kinds": "thread,fd",
        "budget": "pinned=1GiB,licence=2",
    }
    assert {probe.kind for probe in inner.report.probes} == {"thread", "fd"}


@pytest.mark.parametrize("line", ['gpuguard_settle = ["2s"]', "gpuguard_leak_kinds = [1]"])
def test_a_list_where_none_makes_sense_is_a_usage_error(run_plain, line):
    run_plain.pytester.makepyprojecttoml(f"[tool.pytest.ini_options]\n{line}\n")
    inner = run_plain("--gpuguard", test_it="def test_it(): pass")
    assert inner.ret == 4
    assert "Traceback" not in inner.err + inner.out
    assert f"ERROR: GPG501: {line.partition(' ')[0]} (ini)" in inner.err


@pytest.mark.parametrize("line", ["gpuguard_leaks = 1", 'gpuguard_settle = ["2s"]', "gpuguard = 1"])
def test_a_wrong_type_in_native_toml_is_a_usage_error(run_plain, line):
    run_plain.pytester.makepyprojecttoml(f"[tool.pytest]\n{line}\n")
    asked = [] if line.startswith("gpuguard =") else ["--gpuguard"]
    inner = run_plain(*asked, test_it="def test_it(): pass")
    name, _, value = line.partition(" = ")
    assert inner.ret == 4
    assert "Traceback" not in inner.err + inner.out
    assert re.search(rf"ERROR: GPG501: {name} \(ini\): .* expects a \w+, got \w+: ", inner.err), inner.err
    assert value.replace('"', "'") in inner.err


HEAVY = {"numpy", "numba", "msgspec", "jinja2", "click", "psutil", "filelock"}


@pytest.mark.parametrize("way_to_see", ["--help", "--markers", "--version"])
def test_looking_at_pytest_loads_nothing_heavy_even_where_the_suite_is_watched(run_plain, way_to_see):
    """Loaded modules are printed by the interpreter's own -X importtime, which no plugin can disturb."""
    pytester = run_plain.pytester
    pytester.makeini("[pytest]\ngpuguard = true\n")

    def loaded(*args):
        done = pytester.run(
            sys.executable,
            "-X",
            "importtime",
            "-m",
            "pytest",
            "-p",
            "no:xdist",
            *args,
            way_to_see,
            timeout=60,
        )
        assert done.ret == 0
        return {
            line.rpartition("|")[2].strip() for line in done.stderr.lines if line.startswith("import time:")
        }

    ours = loaded()
    assert not {name for name in ours if name.partition(".")[0] in HEAVY}
    new = ours - loaded("-p", "no:gpuguard")
    assert len(new) <= 12, sorted(new)
    assert not (pytester.path / ".pytest_cache/d/gpuguard").exists()


RESTORED = """
    import signal, sys, threading
    from pathlib import Path

    import pytest

    def now():
        handlers = [signal.getsignal(number) for number in signal.valid_signals()]
        return threading.Thread.start, threading.excepthook, handlers

    def tasks():
        return len(list(Path("/proc/self/task").iterdir()))

    before, count = now(), tasks()
    assert pytest.main(["--gpuguard", "-q", "-p", "no:xdist", *sys.argv[1:]]) == 0
    assert now() == before, (now(), before)
    assert tasks() == count
    print("all restored")
"""

NESTED = """
    import textwrap
    import threading
    import pytest

    def test_outer(tmp_path, monkeypatch, capsys):
        (tmp_path / "test_inner.py").write_text(INNER)
        before = threading.Thread.start, threading.excepthook
        monkeypatch.chdir(tmp_path)
        code = pytest.main(["--gpuguard", "--gpuguard-settle=0.2s", "--gpuguard-leaks=error", "-q",
                            "-p", "no:xdist", "--rootdir", str(tmp_path), str(tmp_path)])
        assert code == 1
        assert (threading.Thread.start, threading.excepthook) == before
        said = capsys.readouterr().out
        assert "GPG110: thread test_dies.<locals>.die" in said
        assert "left behind: thread " in said
        threading.Thread(target=int).start()

    INNER = textwrap.dedent('''
        import threading
        from watcher import Watcher
        KEPT = []
        def test_leaks():
            KEPT.append(Watcher().start())
        def test_dies():
            over = threading.Event()
            def die():
                raise OSError("planted")
            threading.Thread(target=die).start()
            over.wait(20)
    ''')

    def test_closes_what_the_inner_run_left():
        import sys
        sys.modules["test_inner"].KEPT[0].close()
"""


def test_everything_is_restored_after_a_run_in_this_process(run_plain):
    script = run_plain.pytester.makepyfile(outer=RESTORED)
    run_plain.pytester.makepyfile(test_it="def test_it(): pass")
    done = run_plain.pytester.run(sys.executable, script, "test_it.py", timeout=60)
    assert "all restored" in done.stdout.str(), done.stderr.str()


def test_runs_within_runs_watch_each_its_own_and_restore_everything(run_plain):
    script = run_plain.pytester.makepyfile(outer=RESTORED)
    run_plain.pytester.makepyfile(test_it=NESTED)
    done = run_plain.pytester.run(sys.executable, script, "test_it.py", timeout=60)
    out = done.stdout.str()
    assert "all restored" in out, out + done.stderr.str()
    assert "2 passed" in out


def test_help_names_every_switch_with_its_default(run_plain):
    out = run_plain("--help").out
    shown = re.sub(r"\s+", " ", out)
    for said in ("--gpuguard ", "--no-gpuguard", "--gpuguard-leaks=off|report|error", "(default: 2s)"):
        assert said in shown, textwrap.shorten(shown, 2000)


def test_a_debugger_is_never_cut_short(run):
    """What pytest says when a debugger starts, then a long wait with a dead thread and past every limit."""
    inner = run.watched(
        "--gpuguard-stall=0.3s",
        "--gpuguard-stall-end=0.6s",
        test_it="""
            import threading, time

            def test_debugged(pytestconfig):
                pytestconfig.hook.pytest_enter_pdb(config=pytestconfig, pdb=None)
                def die():
                    raise OSError("planted")
                threading.Thread(target=die).start()
                time.sleep(1.5)

            def test_next():
                time.sleep(30)
        """,
    )
    assert inner.outcomes == {"test_debugged": "passed", "test_next": "failed"}
    assert [stall.nodeid for stall in inner.report.stalls if stall.ended] == ["test_it.py::test_next"]
