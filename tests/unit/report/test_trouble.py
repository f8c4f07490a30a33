"""Blocks on what is no leak, and the graph of who waits for whom."""

from __future__ import annotations

import msgspec
import pytest

from pytest_gpuguard.report.gathered import Gathered
from pytest_gpuguard.report.lines import plain
from pytest_gpuguard.report.model import Blocker, Edge, Fault, Stall, TestSpan, Wait, Worker
from pytest_gpuguard.report.text import section_lines
from pytest_gpuguard.report.trouble import last_stalls, trouble_blocks
from pytest_gpuguard.report.waitfor import graphs
from tests.golden.record import read

REPLACE = msgspec.structs.replace


def _with(**changes):
    return REPLACE(read(), groups=[], deaths=[], stalls=[], **changes)


def _said(**changes):
    return "\n\n".join(plain(block) for block in trouble_blocks(_with(**changes)))


def test_a_sticky_fault_folds_what_follows_from_it():
    fault = Fault("sticky", "GPG401", "gw2", "t.py::test_scatter[int8]", "CUDA_ERROR_ILLEGAL_ADDRESS", 3.0)
    said = _said(
        faults=[REPLACE(fault, followers=["a", "b"], what="gw2 was replaced", state="first-fault.txt")]
    )
    assert said.splitlines()[0].split() == ["FAULT", "gw2,", "sticky", "GPG401"]
    for wanted in (
        "ILLEGAL_ADDRESS",
        "test_scatter[int8]",
        "2 later failures",
        "gw2 was replaced",
        "first-fault",
    ):
        assert wanted in said


def test_a_crash_is_said_once_by_the_fault_if_there_is_one():
    workers = [Worker("gw0", 7, "crashed", error="Not properly terminated"), Worker("gw1", 8)]
    assert _said(workers=workers).startswith("CRASH  worker gw0, pid 7")
    fault = Fault("crash", "GPG402", "gw0", "t.py::a", "SIGSEGV", 3.0)
    assert "CRASH" not in _said(workers=workers, faults=[fault])


def test_of_a_stalled_test_the_last_word_counts():
    slow, ended = (
        Stall("t.py::a", "call", "gw0", idle, end, "") for idle, end in ((1.0, False), (3.0, True))
    )
    other = Stall("t.py::b", "call", "gw0", 1.0, ended=False, stacks="")
    assert last_stalls([slow, other, ended]) == [ended, other]


def test_a_run_that_was_cut_off_says_so_even_where_nothing_else_is_to_be_said():
    report = _with(
        run=REPLACE(read().run, end="cut off", duration_s=12.0),
        unfinished=[TestSpan("t.py::a", "gw0", 3.0, 3.0, "unfinished")],
    )
    said = plain(section_lines(report))
    assert "this run was cut off after 12.0 s" in said
    assert "a  gw0, since 3.0 s" in said


def _wait(end, **changes):
    wait = Wait("t.py::a", "gw0", {"pinned": 7 << 20}, 1.0, 2.0, end, ["gw1 t.py::b"])
    return REPLACE(wait, **changes)


@pytest.mark.parametrize("end", ["granted", "interrupted"])
def test_waits_that_ended_well_have_no_graph(end):
    assert graphs(_with(waits=[_wait(end)])) == []


def test_a_deadlock_is_a_circle():
    peer = Blocker("gw1 t.py::b", holds={"pinned": 5 << 20}, wants={"pinned": 9 << 20})
    (graph,) = graphs(_with(waits=[_wait("deadlock", blockers=[peer])]))
    assert graph.sentences == [
        "gw0 t.py::a waits for 7.0 MiB pinned behind gw1 t.py::b",
        "gw1 t.py::b waits for 9.0 MiB pinned behind gw0 t.py::a",
    ]
    assert str(graph.picture).count("marker-end") == 2
    assert "holds 5.0 MiB pinned" in graph.picture


def test_a_stall_shows_who_it_waited_for():
    stall = Stall("t.py::a", "call", "gw0", 9.0, True, "", edges=[Edge("gw0", "gw1", "pinned", 1 << 20)])
    (graph,) = graphs(REPLACE(_with(), stalls=[stall]))
    assert graph.title == "a made no progress for 9.0 s"
    assert graph.sentences == ["gw0 waits for 1.0 MiB pinned behind gw1"]


def test_a_crowd_is_cut_and_counted():
    blockers = [Blocker(f"gw{number} t.py::x", holds={"pinned": 1}) for number in range(1, 40)]
    (graph,) = graphs(_with(waits=[_wait("timeout", blockers=blockers)]))
    assert graph.sentences[-1] == "and 28 more edges"


def test_what_a_crashed_worker_held_ends_with_its_last_test():
    gathered = Gathered()
    gathered.add_phase("t.py::a", "gw0", 1.0, 2.0, "passed")
    gathered.add_phase("t.py::crash", "gw0", 5.0, 9.0, "failed")
    gathered.add({"levels": [["gw0", "pinned", 1.0, 5]]})
    gathered.workers["gw0"] = Worker("gw0", 1, "crashed")
    (series,) = gathered.levels()
    assert (series.at, series.amount) == ([1.0, 2.0], [5, 0])


def test_the_long_name_of_a_test_under_which_a_thread_died_stays_whole():
    name = "test_" + "_".join(f"word{number}" for number in range(16)) + "[int8-float32]"
    death = REPLACE(read().deaths[0], nodeid=f"tests/some/folder/test_it.py::{name}")
    lines = plain(section_lines(REPLACE(_with(), deaths=[death]))).splitlines()
    assert len([line for line in lines if name in line]) == 1
    assert [line for line in lines if len(line) > 80 and name not in line] == []
