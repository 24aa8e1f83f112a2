"""What squeue prints of our arrays, and which of their tasks are machines."""

from __future__ import annotations

from rayhpc.providers.arrays import Array, ranges
from rayhpc.providers.slurm.listing import read, task_of

SHOWN = """\
12_1|RUNNING|None|node3|rayhpc-5-worker|rayhpc base=0 size=8
12_2|COMPLETED|None|node4|rayhpc-5-worker|rayhpc base=0 size=8
12_[3,5-8%3]|PENDING|Resources||rayhpc-5-worker|rayhpc base=0 size=8
13_[1-2]|PENDING|Priority||rayhpc-5-worker|rayhpc base=8 size=2
14|RUNNING|None|node1|other|(null)
"""


def test_tasks_are_read_one_by_one_and_in_ranges() -> None:
    found = read(SHOWN)
    assert sorted(found) == ["12", "13"]
    assert sorted(found["12"].tasks) == [1, 2, 3, 5, 6, 7, 8]
    assert found["12"].tasks[5] == task_of("PENDING", "Resources")
    assert (found["12"].throttle, found["13"].throttle) == (3, 2)
    assert (found["13"].base, found["13"].size) == (8, 2)


def test_a_stranger_finds_out_who_is_wanted_by_the_throttle() -> None:
    shown = read(SHOWN)["12"]
    array = Array("12", 0, 8)
    array.see(shown.tasks, shown.throttle)
    assert array.wanted == {1, 3, 5}


def test_who_has_asked_knows_better() -> None:
    array = Array("12", 0, 8, wanted={1, 2, 6})
    array.see(read(SHOWN)["12"].tasks, None)
    assert array.wanted == {1, 6}
    assert array.unwanted_before(6) == [3, 5]


def test_an_array_of_which_nothing_is_left_is_closed() -> None:
    array = Array("12", 0, 2, wanted={1})
    array.see({1: task_of("CANCELLED"), 2: task_of("COMPLETING")}, None)
    assert array.is_closed
    assert array.wanted == set()


def test_ranges_are_short() -> None:
    assert ranges({5, 1, 3, 4}) == "1,3-5"
