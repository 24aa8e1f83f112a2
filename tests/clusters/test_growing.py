"""Machines that come to run are set up once; the head is asked over a pipe."""

from __future__ import annotations

import queue
import sys
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest

from rayhpc.clusters.growing import SettingUp
from rayhpc.clusters.head_line import HeadLine
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.providers.machines import Rented
from rayhpc.wire.messages.growth import GrowthAnswer, GrowthCall


class Place:
    """A provider of machines that does as it is told."""

    def __init__(self, *machines: Rented) -> None:
        self.machines = list(machines)
        self.released: queue.Queue[str] = queue.Queue()

    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        raise NotImplementedError

    def cancel(self, names: Sequence[str]) -> None:
        raise NotImplementedError

    def explain(self, name: str) -> str:
        raise NotImplementedError

    def prepare(self, public_key: str, user: str) -> None:
        raise NotImplementedError

    def let_in(self, public_keys: Sequence[str]) -> None:
        raise NotImplementedError

    def dissolve(self) -> Sequence[str]:
        raise NotImplementedError

    def renew(self, until: float) -> None:
        raise NotImplementedError

    def list(self) -> Sequence[Rented]:
        return list(self.machines)

    def release(self, names: Sequence[str]) -> None:
        for name in names:
            self.released.put(name)


def machine(name: str, state: MachineState = MachineState.RUNNING) -> Rented:
    return Rented(name, "w", state, "10.0.0.1", login="192.0.2.1")


def test_each_machine_that_runs_is_set_up_once_and_the_head_is_no_worker() -> None:
    begun: queue.Queue[str] = queue.Queue()
    place = Place(machine("head-1"), machine("w-1"), machine("w-2", MachineState.PENDING))
    provider = SettingUp(place, lambda x: begun.put(x.name), pytest.fail, known=[])
    assert [x.name for x in provider.list()] == ["w-1", "w-2"]
    assert begun.get(timeout=60) == "w-1"
    place.machines[2] = replace(place.machines[2], state=MachineState.RUNNING)
    provider.list()
    assert begun.get(timeout=60) == "w-2"
    assert begun.empty()


def test_a_machine_that_cannot_be_set_up_is_told_and_given_back() -> None:
    told: list[str] = []

    def fail(each: Rented) -> None:
        raise LaunchError(f"{each.name}: pip says no")

    place = Place(machine("w-1"), machine("w-2"))
    SettingUp(place, fail, lambda error: told.append(str(error)), known=["w-2"]).list()
    assert place.released.get(timeout=60) == "w-1"
    assert told == ["w-1: pip says no"]


_SERVER = """
import sys
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(sys.argv[1].encode() + b"\\n")
    sys.stdout.flush()
    if len(sys.argv) > 2:
        sys.exit(int(sys.argv[2]) if sys.argv[2].isdecimal() else sys.argv[2])
"""


def line_to(answer: GrowthAnswer, *more: str) -> HeadLine:
    told = msgspec.json.encode(answer).decode()
    return HeadLine([sys.executable, "-c", _SERVER, told, *more])


def test_answers_arrive_and_errors_are_raised_with_their_codes() -> None:
    with line_to(GrowthAnswer(msgspec.msgpack.encode(b"state"))) as line:
        assert line.remembered() == b"state"
        assert line.remembered() == b"state"
    error = GrowthAnswer(error="the cluster ends", code=int(ExitCode.HEAD_LOST))
    with line_to(error) as line, pytest.raises(LaunchError, match="the cluster ends") as caught:
        line.load()
    assert caught.value.code == ExitCode.HEAD_LOST


def test_a_line_that_breaks_says_what_was_said_last() -> None:
    with line_to(GrowthAnswer(msgspec.msgpack.encode(None)), "it went down") as line:
        line.drain("n")
        with pytest.raises(LaunchError, match=r"has ended: it went down") as caught:
            line.floor()
        assert caught.value.code == ExitCode.HEAD_LOST


def test_a_line_that_is_refused_is_told_from_a_lost_one() -> None:
    with line_to(GrowthAnswer(msgspec.msgpack.encode(None)), "73") as line:
        line.drain("n")
        with pytest.raises(LaunchError) as caught:
            line.floor()
    assert caught.value.code == ExitCode.REFUSED


def test_calls_travel_as_they_are() -> None:
    call = GrowthCall("remember", data=b"\x00\xff")
    assert msgspec.json.decode(msgspec.json.encode(call), type=GrowthCall) == call
