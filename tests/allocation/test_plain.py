"""What is known of a node where there is no batch system."""

from __future__ import annotations

import pytest

from rayhpc.allocation import plain
from rayhpc.machine.facts import read_machine

MACHINE = read_machine({})


def test_whoever_starts_a_node_may_say_when_it_ends() -> None:
    assert plain.read({}, MACHINE).end_time.value is None
    told = plain.read({"RAYHPC_END_TIME": "1700000000"}, MACHINE).end_time
    assert (told.value, told.source) == (1_700_000_000.0, "RAYHPC_END_TIME")
    with pytest.raises(ValueError, match="RAYHPC_END_TIME='soon'"):
        plain.read({"RAYHPC_END_TIME": "soon"}, MACHINE)
