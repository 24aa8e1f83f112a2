"""An observer asks; whatever else it sends is refused."""

from __future__ import annotations

import msgspec
import pytest

from rayhpc.wire import roles
from rayhpc.wire.address import FIRST_OBSERVER, Address, make_address
from rayhpc.wire.messages import actors, cluster, leases, looking, task_runs, windows

OBSERVER = make_address(3, FIRST_OBSERVER + 1)
READS = (
    cluster.Nodes(),
    cluster.ClusterUsage(),
    cluster.KvGet("", b""),
    cluster.KvKeys("", b""),
    cluster.Workers(),
    task_runs.TaskRuns(),
    looking.ReadLog(),
    looking.Stacks(),
)
CHANGES = (cluster.KvPut("", b"", b""), cluster.KvDelete("", b""), cluster.PassOnOutput(1))


def admitted(source: Address, message: msgspec.Struct) -> tuple[bool, list[msgspec.Struct]]:
    told: list[msgspec.Struct] = []
    return roles.admits(source, message, lambda _, answer: told.append(answer)), told


@pytest.mark.parametrize("question", READS, ids=lambda x: type(x).__name__)
def test_questions_are_answered(question: cluster.Question) -> None:
    assert admitted(OBSERVER, cluster.Request(7, question)) == (True, [])


@pytest.mark.parametrize("question", CHANGES, ids=lambda x: type(x).__name__)
def test_questions_that_change_something_are_refused_in_words(question: cluster.Question) -> None:
    let_in, (answer,) = admitted(OBSERVER, cluster.Request(7, question))
    assert not let_in
    assert isinstance(answer, cluster.Reply)
    assert (answer.token, "An observer only reads" in answer.error) == (7, True)
    for other in (make_address(3, 5), make_address(3, 0), 0):
        assert admitted(other, cluster.Request(7, question)) == (True, [])


def test_orders_are_refused() -> None:
    for order in (
        cluster.EndCluster("no"),
        cluster.Drain("no", 1.0),
        actors.KillActor(b"a", True),
        leases.Shutdown("no"),
    ):
        assert admitted(OBSERVER, order) == (False, [])
    assert admitted(OBSERVER, windows.Flush()) == (True, [])
