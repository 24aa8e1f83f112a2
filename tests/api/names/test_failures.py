"""Exceptions by name, each from a node that is not the driver's, and nodes that come and go."""

from __future__ import annotations

import os
import resource
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import rayhpc as ray
from rayhpc import exceptions
from rayhpc.api.session import packages
from rayhpc.cluster_utils import ClusterNode
from rayhpc.launch import node_config
from rayhpc.runtime.process import current
from rayhpc.wire.messages.cluster import KvPut
from tests.api.actors.counter import wait_for
from tests.api.names.naming import (
    FAR,
    LARGE,
    Gate,
    Tally,
    Two,
    block,
    covers,
    get,
    held,
    here,
    where,
)

Third = Callable[..., ClusterNode]
ON_THIRD = {"resources": {"third": 0.001}}


# -- what the user's code raises -----------------------------------------------------------------
class Special(ValueError):
    """An exception with something in it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"special {code}")
        self.code = code


def raise_in_the_far_function() -> None:
    raise Special(42)


@covers(
    "exceptions.RayError",
    "exceptions.RayTaskError",
    "exceptions.RayTaskError: the cause's type",
    "exceptions.RayTaskError: traceback, node and pid",
)
def test_an_exception_keeps_its_type_and_says_where_it_was(two: Two) -> None:
    @ray.remote(max_retries=0, **FAR)
    def fail(pids: Any) -> None:
        ray.get(pids.add.remote(os.getpid()))
        raise_in_the_far_function()

    pids = Tally.remote()
    with pytest.raises(Special) as caught:
        get(fail.remote(pids))
    error: Any = caught.value
    assert isinstance(error, exceptions.RayTaskError)
    assert isinstance(error, exceptions.RayError)
    assert (error.code, type(error.cause)) == (42, Special)
    assert error.ip == two.ip(two.far)
    assert error.pid == get(pids.add.remote(0))
    for text in ("raise_in_the_far_function", f"pid={error.pid}", f"ip={error.ip}", "special 42"):
        assert text in str(error)


@covers("exceptions.UserCodeException")
def test_what_cannot_travel_is_told(two: Two) -> None:
    @ray.remote(**FAR)
    def fail() -> None:
        class Unsendable(Exception):
            def __init__(self) -> None:
                super().__init__("with a lock")
                self.lock = threading.Lock()

        raise Unsendable

    with pytest.raises(exceptions.RayTaskError, match="with a lock") as caught:
        get(fail.remote())
    assert isinstance(caught.value.cause, exceptions.UserCodeException)
    assert caught.value.ip == two.ip(two.far)


# -- objects and environments --------------------------------------------------------------------
@covers("exceptions.ObjectFreedError")
def test_freed(two: Two) -> None:
    ref = block.options(**FAR).remote()
    ray.wait([ref], timeout=30, fetch_local=False)
    ray.free([ref])
    with pytest.raises(exceptions.ObjectFreedError):
        get(ref)
    read = ray.remote(lambda refs: ray.get(refs[0], timeout=20))
    with pytest.raises(exceptions.ObjectFreedError):
        get(read.options(**FAR).remote([ref]))


@covers("exceptions.ObjectStoreFullError")
def test_an_object_that_neither_memory_nor_disk_takes(two: Two, third: Third) -> None:
    node = third(object_store_memory=80 * 2**20)
    # As with a full disk: the file that it spills to cannot grow.
    resource.prlimit(node.node.process.pid, resource.RLIMIT_FSIZE, (2**20, 2**20))
    on_third = block.options(max_retries=0, **ON_THIRD)
    with pytest.raises(exceptions.ObjectStoreFullError):
        get(on_third.remote(1, 120 * 2**20))
    assert get(on_third.remote(1))[0] == 1


@covers("exceptions.RuntimeEnvSetupError")
def test_an_environment_that_cannot_be_made(two: Two) -> None:
    # A package that cannot be unpacked there, as it would be with a full disk.
    name = uuid.uuid4().hex
    current.client().ask_head(KvPut(packages.SPACE, name.encode(), b"no archive"), bool)
    env = {"working_dir": packages.SCHEME + name}
    with pytest.raises(exceptions.RuntimeEnvSetupError):
        get(where.options(runtime_env=env, **FAR).remote())
    assert get(where.options(**FAR).remote()) == two.far


@covers("exceptions.OutOfMemoryError")
def test_out_of_memory(two: Two, third: Third, monkeypatch: pytest.MonkeyPatch) -> None:
    def small_machine(*args: Any, **options: Any) -> node_config.Place:
        place = look_around(*args, **options)
        memory = replace(place.machine.memory, total=512 * 2**20 * place.machine.online_cpus)
        return replace(place, machine=replace(place.machine, memory=memory))

    look_around = node_config.look_around
    monkeypatch.setattr(node_config, "look_around", small_machine)
    # What tasks may request is not what they may use, as in Ray.
    third(memory=16 * 2**20)

    @ray.remote(max_retries=0, **ON_THIRD)
    def devour() -> int:
        taken: list[bytes] = []
        while len(taken) < 1000:
            taken.append(b"x" * 2**23)
            # The monitor looks a few times a second: no faster than it can be seen.
            threading.Event().wait(0.005)
        return len(taken)

    with pytest.raises(exceptions.OutOfMemoryError, match="what this node was given"):
        get(devour.remote())


# -- a node that dies ------------------------------------------------------------------------------
@covers(
    "exceptions.NodeDiedError",
    "exceptions.ObjectLostError",
    "exceptions.OwnerDiedError",
    "exceptions.ActorDiedError",
    "cluster_utils.Cluster: add_node",
    "cluster_utils.Cluster: remove_node",
    "cluster_utils.Cluster: wait_for_nodes",
)
def test_what_ends_with_a_node(two: Two, third: Third) -> None:
    @ray.remote(num_cpus=0, **ON_THIRD)
    class Owner:
        def make(self) -> list[Any]:
            return [ray.put(bytes(LARGE)), here()]

    node = third()
    two.cluster.wait_for_nodes()
    gate, owner = Gate.remote(), Owner.remote()
    foreign, at = get(owner.make.remote())
    assert at == node.node_id
    assert ray.wait([foreign], timeout=30, fetch_local=False)[0] == [foreign]
    lost = block.options(max_retries=0, **ON_THIRD).remote()
    assert ray.wait([lost], timeout=30, fetch_local=False)[0] == [lost]
    running = held.options(max_retries=0, **ON_THIRD).remote(gate)
    wait_for(lambda: get(gate.come.remote()) == 1)
    two.cluster.remove_node(node, allow_graceful=False)
    two.cluster.wait_for_nodes()
    with pytest.raises(exceptions.NodeDiedError):
        get(running)
    with pytest.raises(exceptions.ActorDiedError):
        get(owner.make.remote())
    with pytest.raises(exceptions.OwnerDiedError):
        get(foreign)
    with pytest.raises(exceptions.ObjectLostError) as caught:
        get(lost)
    assert lost.hex() in str(caught.value)
    row = two.row(node.node_id)
    assert (row["Alive"], bool(row["DeathReasonMessage"])) == (False, True)


@covers("cluster_utils.Cluster: add_node", "cluster_utils.Cluster: remove_node")
def test_a_node_that_leaves_in_good_order(two: Two, third: Third) -> None:
    node = third(labels={"zone": "third"})
    two.cluster.wait_for_nodes()
    assert get(where.options(label_selector={"zone": "third"}).remote()) == node.node_id
    kept = Tally.options(max_restarts=1, max_task_retries=1).remote()
    assert get(kept.add.remote()) == 1
    two.cluster.remove_node(node)
    two.cluster.wait_for_nodes()
    assert {x["NodeID"] for x in ray.nodes() if x["Alive"]} == two.both
    assert get(kept.add.remote()) == 2
