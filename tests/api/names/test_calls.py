"""`remote`, `get`, `wait`, `put`, `cancel`, `kill` and the questions about the cluster."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import rayhpc as ray
from rayhpc import exceptions
from rayhpc.util.locations import get_object_locations
from tests.api.actors.counter import wait_for
from tests.api.names.naming import (
    FAR,
    LARGE,
    NEAR,
    Gate,
    Tally,
    Two,
    block,
    covers,
    get,
    held,
    here,
    is_gone,
    where,
)


# -- remote --------------------------------------------------------------------------------------
@covers("remote: function, bare", "remote: function, with arguments", "options of a function")
def test_remote_functions(two: Two) -> None:
    @ray.remote(num_cpus=1, **FAR)
    def given() -> str:
        return here()

    def plain() -> str:
        return here()

    assert get(given.remote()) == two.far
    assert get(given.options(**NEAR).remote()) == two.near
    assert get(ray.remote(plain).options(**FAR).remote()) == two.far


@covers("remote: class, bare", "remote: class, with arguments", "options of a class")
def test_remote_classes(two: Two) -> None:
    class Plain:
        def node(self) -> str:
            return here()

    @ray.remote(num_cpus=0, **FAR)
    class Given(Plain): ...

    assert get(Given.remote().node.remote()) == two.far
    assert get(Given.options(**NEAR).remote().node.remote()) == two.near
    assert get(ray.remote(Plain).options(**FAR).remote().node.remote()) == two.far


# -- get, wait, put --------------------------------------------------------------------------------
@covers("get: single", "get: list")
def test_get(two: Two) -> None:
    far, near = block.options(**FAR).remote(1), block.options(**NEAR).remote(2)
    assert get(far) == bytes([1]) * LARGE
    assert [x[0] for x in get([near, far])] == [2, 1]
    inside = ray.remote(lambda refs: [x[0] for x in ray.get(refs, timeout=20)] + [here()])
    assert get(inside.options(**FAR).remote([near, far])) == [2, 1, two.far]


@covers("get: timeout", "exceptions.GetTimeoutError")
def test_get_with_a_timeout(two: Two) -> None:
    gate = Gate.options(**FAR).remote()
    ref = held.options(**FAR).remote(gate)
    with pytest.raises(exceptions.GetTimeoutError) as caught:
        ray.get(ref, timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    gate.open.remote()
    assert ray.get(ref, timeout=30) == two.far


@covers("wait: num_returns", "wait: timeout")
def test_wait(two: Two) -> None:
    gate = Gate.options(**FAR).remote()
    late = held.options(**FAR).remote(gate)
    far, near = where.options(**FAR).remote(), where.options(**NEAR).remote()
    assert ray.wait([late, far, near], num_returns=2, timeout=30) == ([far, near], [late])
    assert ray.wait([late, far], num_returns=2, timeout=0.05) == ([far], [late])
    gate.open.remote()
    assert ray.wait([late, far], num_returns=2, timeout=30) == ([late, far], [])


@covers("wait: fetch_local", "locations.get_object_locations")
def test_wait_brings_the_object_or_leaves_it(two: Two) -> None:
    def places() -> set[str]:
        return set(get_object_locations([ref])[ref]["node_ids"])

    ref = block.options(**FAR).remote(1, 3_000_000)
    assert ray.wait([ref], timeout=30, fetch_local=False) == ([ref], [])
    assert places() == {two.far}
    assert ray.wait([ref], timeout=30, fetch_local=True) == ([ref], [])
    assert places() == two.both


@covers("put")
def test_put(two: Two) -> None:
    @ray.remote(**FAR)
    def make() -> list[Any]:
        return [ray.put("small"), ray.put(bytes(LARGE)), here()]

    small, large, node = get(make.remote())
    assert (get(small), len(get(large)), node) == ("small", LARGE, two.far)
    mine = [ray.put("of the driver"), ray.put(bytes([7]) * LARGE)]
    read = ray.remote(lambda small, large: (small, large[0], len(large), here()))
    found = get(read.options(**FAR).remote(*mine))
    assert found == ("of the driver", 7, LARGE, two.far)


# -- cancel and kill -------------------------------------------------------------------------------
@ray.remote(max_retries=0)
def spin(mark: str, stubborn: bool = False) -> None:
    """Runs until it is stopped; a stubborn one only by force."""
    Path(mark).write_text(here())
    while True:
        try:
            time.sleep(0.01)
        except KeyboardInterrupt:
            if not stubborn:
                Path(mark).unlink()
                raise


@covers("cancel", "exceptions.TaskCancelledError")
def test_cancel(two: Two, tmp_path: Path) -> None:
    mark = tmp_path / "runs"
    ref = spin.options(**FAR).remote(str(mark))
    wait_for(lambda: mark.exists() and mark.read_text() == two.far)
    ray.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        get(ref)
    wait_for(lambda: not mark.exists())


@covers("cancel: force")
def test_cancel_by_force(two: Two, tmp_path: Path) -> None:
    mark = tmp_path / "runs"
    ref = spin.options(num_cpus=2, **FAR).remote(str(mark), True)
    wait_for(lambda: mark.exists() and mark.read_text() == two.far)
    ray.cancel(ref, force=True)
    with pytest.raises((exceptions.TaskCancelledError, exceptions.WorkerCrashedError)):
        get(ref)
    assert get(where.options(num_cpus=2, **FAR).remote()) == two.far


@covers("cancel: recursive")
@pytest.mark.parametrize("recursive", [True, False])
def test_cancel_reaches_children_on_the_other_node(
    two: Two, tmp_path: Path, recursive: bool
) -> None:
    @ray.remote(max_retries=0, **FAR)
    def parent(mark: str, keeper: Any) -> None:
        child = spin.options(**NEAR).remote(mark)
        ray.get(keeper.add.remote([child]))
        ray.get(child)

    @ray.remote(num_cpus=0)
    class Keeper:
        def __init__(self) -> None:
            self.refs: list[Any] = []

        def add(self, refs: list[Any]) -> None:
            self.refs = refs

        def all(self) -> list[Any]:
            return self.refs

    mark, keeper = tmp_path / "runs", Keeper.options(**FAR).remote()
    ref = parent.remote(str(mark), keeper)
    wait_for(lambda: mark.exists() and mark.read_text() == two.near)
    wait_for(lambda: bool(get(keeper.all.remote())))
    ray.cancel(ref, recursive=recursive)
    with pytest.raises(exceptions.TaskCancelledError):
        get(ref)
    if not recursive:
        (child,) = get(keeper.all.remote())
        assert ray.wait([child], timeout=0.2)[0] == []
        assert mark.exists()
        ray.cancel(child)
    wait_for(lambda: not mark.exists())


@covers("kill")
def test_kill(two: Two) -> None:
    actor = Tally.options(**FAR).remote()
    assert get(actor.node.remote()) == two.far
    pid = get(actor.pid.remote())
    ray.kill(actor)
    with pytest.raises(exceptions.ActorDiedError, match="kill"):
        get(actor.add.remote())
    wait_for(lambda: is_gone(pid))


# -- actors' names and methods -------------------------------------------------------------------
@covers("get_actor", "actors: named")
def test_get_actor(two: Two) -> None:
    actor = Tally.options(name="tally", **FAR).remote(5)
    assert get(ray.get_actor("tally").add.remote()) == 6
    assert get(ray.get_actor("tally").node.remote()) == two.far

    @ray.remote(**FAR)
    def from_there() -> tuple[int, str]:
        return ray.get(ray.get_actor("tally").add.remote(), timeout=20), here()

    assert get(from_there.remote()) == (7, two.far)
    assert ray.get_actor("tally") == actor
    with pytest.raises(ValueError, match="nobody"):
        ray.get_actor("nobody")


@covers("method", "actors: several returns")
def test_method(two: Two) -> None:
    @ray.remote(num_cpus=0, **FAR)
    class Pairs:
        def __init__(self) -> None:
            self.runs = 0

        @ray.method(num_returns=2)
        def pair(self) -> tuple[bytes, str]:
            return bytes(LARGE), here()

        @ray.method(max_task_retries=1, retry_exceptions=True)
        def second(self) -> int:
            self.runs += 1
            if self.runs == 1:
                raise KeyError("first")
            return self.runs

    pairs = Pairs.remote()
    data, node = pairs.pair.remote()
    assert (len(get(data)), get(node)) == (LARGE, two.far)
    assert get(pairs.second.remote()) == 2
    one, other = pairs.pair.options(num_returns=2).remote()
    assert (len(get(one)), get(other)) == (LARGE, two.far)


# -- what the cluster is -------------------------------------------------------------------------
@covers("nodes")
def test_nodes(two: Two) -> None:
    rows = {x["NodeID"]: x for x in ray.nodes() if x["Alive"]}
    assert set(rows) == two.both
    assert len({x["NodeManagerAddress"] for x in rows.values()}) == 2
    assert rows[two.far]["Labels"]["zone"] == "far"
    assert rows[two.far]["Resources"]["GPU"] == 2.0
    assert "GPU" not in rows[two.near]["Resources"]
    assert get(ray.remote(ray.nodes).options(**FAR).remote()) == ray.nodes()


@covers("cluster_resources", "available_resources")
def test_resources(two: Two) -> None:
    total = ray.cluster_resources()
    assert (total["CPU"], total["GPU"], total["near"], total["far"]) == (4, 2, 1, 1)
    gate = Gate.options(**NEAR).remote()
    ref = held.options(num_cpus=2, num_gpus=1, **FAR).remote(gate)
    wait_for(lambda: ray.available_resources().get("GPU") == 1)
    wait_for(lambda: ray.available_resources().get("CPU") == 2)
    gate.open.remote()
    assert get(ref) == two.far
    wait_for(lambda: ray.available_resources().get("CPU") == 4)
    assert ray.available_resources()["GPU"] == 2


@covers("get_runtime_context")
def test_runtime_context(two: Two) -> None:
    @ray.remote(num_cpus=2, runtime_env={"env_vars": {"SEEN": "far"}}, **FAR)
    def look() -> dict[str, Any]:
        context = ray.get_runtime_context()
        return {
            "job": context.get_job_id(),
            "node": context.get_node_id(),
            "task": context.get_task_id(),
            "cpus": context.get_assigned_resources()["CPU"],
            "namespace": context.namespace,
            "env": context.runtime_env.get("env_vars"),
            "head": context.gcs_address,
            "initialized": ray.is_initialized(),
        }

    mine, ref = ray.get_runtime_context(), look.remote()
    assert get(ref) == {
        "job": mine.get_job_id(),
        "node": two.far,
        "task": ref.task_id().hex(),
        "cpus": 2.0,
        "namespace": "names",
        "env": {"SEEN": "far"},
        "head": mine.gcs_address,
        "initialized": True,
    }
    actor = Tally.options(**FAR).remote()
    find = actor.__ray_call__.remote(
        lambda _: (
            ray.get_runtime_context().get_actor_id(),
            ray.get_runtime_context().current_actor,
            ray.get_runtime_context().was_current_actor_reconstructed,
        )
    )
    assert get(find) == (actor._actor_id.hex(), actor, False)


@covers("timeline")
def test_timeline(two: Two, tmp_path: Path) -> None:
    refs = [where.options(**x).remote() for x in (NEAR, FAR)]
    assert get(refs) == [two.near, two.far]
    events = {x["args"]["task_id"]: x["pid"] for x in ray.timeline() or ()}
    assert len({events[x.task_id().hex()] for x in refs}) == 2
    ray.timeline(str(tmp_path / "trace.json"))
    assert refs[1].task_id().hex() in (tmp_path / "trace.json").read_text()
