"""Any messages in any order, any output, any word of a fork server: the raylet goes on."""

from __future__ import annotations

import logging

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayhpc.raylet import forkserver_messages as fork
from rayhpc.raylet.environments import Environments
from rayhpc.raylet.excuses import excuse
from rayhpc.raylet.logs import LINE_MAX, Lines
from rayhpc.wire import messages
from rayhpc.wire.address import make_address
from rayhpc.wire.guard import Guard
from rayhpc.wire.messages import cluster, leases
from tests.raylet.test_node import Site
from tests.wire import fuzzing

ENDS_IT = (leases.Shutdown, cluster.Drain, cluster.Registered, cluster.RegistrationRefused)
NODES = (1 << 32, make_address(1, 1), make_address(1, 2), 2 << 32, make_address(2, 7))
SOURCES = st.sampled_from([0, *NODES])
ANY = fuzzing.messages([x for x in messages.RAYLET_TAKES if x not in ENDS_IT])
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# All of it takes less time than the raylet waits for a silent head.
MESSAGES = 12
PAUSES = st.floats(0, cluster.HEAD_PATIENCE_S / (MESSAGES + 1))


@given(st.lists(st.tuples(SOURCES, ANY, PAUSES), max_size=MESSAGES))
@SLOW
def test_whatever_comes_the_raylet_goes_on(
    told: list[tuple[int, msgspec.Struct, float]],
) -> None:
    site = Site()
    guard = Guard(logging.getLogger("rayhpc.fuzz"))
    try:
        site.boot()
        for source, message, seconds in told:
            if isinstance(message, leases.NodeGone) and 1 in (message.node, *message.more):
                continue  # that ends it, as it should
            failure = guard.run(message, site.raylet.handle, source, message)
            if failure is not None:
                excuse(source, message, failure)
            site.time += seconds
            site.raylet.on_time()
            site.raylet.settle()
            site.raylet.deadline()
        assert site.raylet.ended is None
        # What makes no sense may be an error, which the loop survives; what is due must not.
        if not any(isinstance(m, leases.LeaseRequest) for _, m, _ in told):
            site.request(1, site.driver)
            site.boot()
    finally:
        site.store.close()
        site.arena.close()


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_whatever_workers_print(pieces: list[bytes]) -> None:
    lines = Lines(lambda: 0.0)
    for piece in pieces:
        for line in lines.feed(piece):
            assert "\n" not in line
    assert len(lines._rest) <= LINE_MAX
    lines.end()


@given(st.binary(max_size=200))
def test_whatever_a_fork_server_says(data: bytes) -> None:
    for decode in (fork.decode_event, fork.decode_command):
        try:
            decode(data)
        except msgspec.DecodeError:
            pass


TEXTS = st.text(max_size=50).map(lambda x: f'{{"env_vars": {x}}}'.encode())


@given(st.binary(max_size=100) | TEXTS)
def test_an_environment_is_one_or_has_an_error(data: bytes) -> None:
    tokens = iter(range(100))
    made = Environments("/nowhere", lambda *_: None, lambda: next(tokens), lambda: None)
    found = made.get(data)
    assert found is None or found.error or isinstance(found.environ, dict)


@pytest.mark.parametrize("wanted", ["1", "[]", '{"env_vars": 3}', '{"py_modules": 7}', "null"])
def test_json_that_is_no_environment_is_an_error(wanted: str) -> None:
    made = Environments("/nowhere", lambda *_: None, lambda: 1, lambda: None)
    found = made.get(wanted.encode())
    assert found is not None
    assert found.error
