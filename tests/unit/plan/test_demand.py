"""Demands from the keywords of marks: read, closest first, merged."""

from __future__ import annotations

import re

import pytest

from pytest_gpuguard.plan.demand import Demand, closest, merge, read

MIB = 1 << 20


def test_amounts_are_read_as_text_and_as_numbers():
    values = read({"pinned": "512 MiB", "memory": 7, "resources": {"License": 2, "scratch": "1 KiB"}})
    assert values == {"pinned": 512 * MIB, "memory": 7, "resources": {"license": 2, "scratch": 1024}}


@pytest.mark.parametrize("given", [(8, 0), "8.0", 8.0])
def test_a_capability_has_three_spellings(given):
    assert read({"capability": given}) == {"capability": (8, 0)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"pined": 1}, "unknown keyword 'pined'; known are memory, pinned, count, exclusive"),
        ({"pinned": "50%"}, "pinned: '50%' is a percentage, which is another amount on each host"),
        ({"pinned": 1.5}, "pinned: expected an amount such as '512 MiB'"),
        ({"pinned": -1}, "pinned: an amount of bytes cannot be negative"),
        ({"memory": True}, "memory: expected an amount"),
        ({"memory": "300 TiB"}, "memory: amounts are below"),
        ({"count": 0}, "count: expected a number of devices, 1 at least, got 0"),
        ({"exclusive": "yes"}, "exclusive: expected True or False"),
        ({"capability": "new"}, "capability: expected a compute capability"),
        ({"resources": 3}, "resources: expected a dictionary"),
        ({"resources": {"a b": 3}}, "resources: a resource is named by"),
        ({"resources": {1: 3}}, "resources: a resource is named by"),
    ],
)
def test_what_is_no_demand_is_said_with_its_keyword(arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        read(arguments)


def test_the_closest_mark_wins_for_each_keyword_by_itself():
    of_function = {"pinned": 1, "resources": {"a": 1}}
    of_class = {"pinned": 2, "memory": 3, "resources": {"a": 5, "b": 6}}
    assert closest([of_function, of_class]) == Demand(pinned=1, memory=3, resources={"a": 1, "b": 6})


def test_parts_are_added_and_the_greater_wish_counts():
    test = Demand(pinned=10, count=2, capability=(7, 0), resources={"a": 1})
    fixture = Demand(pinned=5, memory=4, exclusive=True, simulator=False, capability=(8, 0))
    assert merge([test, fixture]) == Demand(
        memory=4,
        pinned=15,
        count=2,
        exclusive=True,
        simulator=False,
        capability=(8, 0),
        resources={"a": 1, "pinned.regions": 2},
    )


def test_one_buffer_is_meant_where_nothing_is_said_of_buffers():
    assert Demand(pinned=1).regions == 1
    assert Demand(memory=1).regions == 0
    assert Demand(pinned=1, resources={"pinned.regions": 9}).regions == 9
