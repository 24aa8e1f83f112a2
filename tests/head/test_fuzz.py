"""Any messages in any order: the head goes on, and serves who comes next."""

from __future__ import annotations

import logging

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayhpc.head.excuses import excuse
from rayhpc.head.head import Head
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
    told: list[tuple[int, msgspec.Struct, float]],
) -> None:
    import random

    time = [1000.0]
    encode = msgspec.msgpack.Encoder().encode
    head = Head(
        FACTS,
        lambda address, message: len(encode(message)) and None,
        lambda: time[0],
        lambda: time[0],
        random.Random(0),
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
    assert guard.count == 0, guard.last
    assert isinstance(join("three"), cluster.Registered)
