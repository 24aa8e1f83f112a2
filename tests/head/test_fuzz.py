"""Any messages in any order: the head goes on, and serves who comes next."""

from __future__ import annotations

import logging
import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayhpc.head.database import Database
from rayhpc.head.excuses import excuse
from rayhpc.head.head import Head
from rayhpc.head.ledger import TABLES, Ledger
from rayhpc.wire import messages
from rayhpc.wire.address import make_address
from rayhpc.wire.guard import Guard
from rayhpc.wire.messages import cluster
from tests.wire import fuzzing

from .fakes import FACTS, amounts, node_info

SOURCES = st.sampled_from([make_address(n, p) for n in (1, 2, 3) for p in (0, 1, 7)])
ENDS_IT = (cluster.EndCluster,)
ANY = fuzzing.messages([x for x in messages.HEAD_TAKES if x not in ENDS_IT])


@given(st.lists(st.tuples(SOURCES, ANY, st.floats(0, 2)), max_size=12))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_comes_a_node_can_join_afterwards(
    tmp_path_factory: pytest.TempPathFactory,
    told: list[tuple[int, msgspec.Struct, float]],
) -> None:
    time = [1000.0]
    encode = msgspec.msgpack.Encoder().encode
    tmp_path = tmp_path_factory.mktemp("head")
    ledger = Ledger(Database(str(tmp_path), TABLES, FACTS.cluster_id, FACTS.version, resume=False))
    head = Head(
        FACTS,
        lambda address, message: len(encode(message)) and None,
        lambda: time[0],
        lambda: time[0],
        random.Random(0),
        ledger=ledger,
    )
    guard = Guard(logging.getLogger("rayhpc.fuzz"))

    def join(name: str) -> object:
        info = node_info(name, amounts(CPU=2))
        register = cluster.RegisterNode(
            FACTS.cluster_id, cluster.PROTOCOL, FACTS.python, FACTS.version, info
        )
        return head.join(register)

    join("one")
    join("two")
    for source, message, seconds in told:
        if isinstance(message, cluster.RegisterNode):
            guard.run(message, head.join, message)
        else:
            failure = guard.run(message, head.handle, source, message)
            if failure is not None:
                excuse(message, failure)
        time[0] += seconds
        guard.run("what is due", head.advance)
        guard.run("its deadline", head.deadline)
        guard.run("what is written", ledger.commit)
    assert guard.count == 0, guard.last
    assert isinstance(join("three"), cluster.Registered)
    ledger.commit()
    ledger.close()
    # Another life takes it over.
    ledger = Ledger(Database(str(tmp_path), TABLES, FACTS.cluster_id, FACTS.version, resume=True))
    again = Head(FACTS, lambda *_: None, lambda: 0.0, lambda: 0.0, random.Random(0), ledger=ledger)
    assert again.nodes.alive.keys() == head.nodes.alive.keys()
    assert again.actors.table.counts == {k: n for k, n in head.actors.table.counts.items() if n}
    assert again.groups.counts() == head.groups.counts()
    assert again.jobs.rows() == head.jobs.rows()
    ledger.close()
