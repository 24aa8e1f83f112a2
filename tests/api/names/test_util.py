"""The tools of `util`, with work on both nodes."""

from __future__ import annotations

import os
import queue
from typing import Any

import pytest

import rayhpc as ray
from rayhpc.util import (
    ActorPool,
    as_completed,
    deregister_serializer,
    get_node_ip_address,
    list_named_actors,
    map_unordered,
    metrics,
    register_serializer,
    state,
    tqdm_ray,
)
from rayhpc.util.annotations import Deprecated, DeveloperAPI, PublicAPI
from rayhpc.util.futures import Executor
from rayhpc.util.multiprocessing import Pool
from rayhpc.util.progress_bars import get_with_progress, progress_bar
from rayhpc.util.queue import Empty, Full, Queue
from tests.api.actors.counter import wait_for
from tests.api.names.naming import (
    FAR,
    NEAR,
    Gate,
    Tally,
    Two,
    block,
    covers,
    get,
    held,
    here,
    until_idle,
    where,
)

ON_FAR = {"num_cpus": 0, **FAR}


def tagged(x: int) -> tuple[int, str]:
    """What the pools run."""
    return x, here()


# -- addresses and helpers ---------------------------------------------------------------------
@covers("util.get_node_ip_address", "services.get_node_ip_address")
def test_addresses(two: Two) -> None:
    assert get_node_ip_address() == two.ip(two.near)
    for ask in (get_node_ip_address, ray.services.get_node_ip_address):
        assert get(ray.remote(ask).options(**FAR).remote()) == two.ip(two.far)


@covers("util.as_completed", "util.map_unordered", "util.list_named_actors")
def test_helpers(two: Two) -> None:
    refs = [where.options(**x).remote() for x in (NEAR, FAR)]
    assert set(as_completed(refs)) == two.both
    work = ray.remote(tagged).options(**FAR)
    assert sorted(map_unordered(work, range(5))) == [(i, two.far) for i in range(5)]
    tally = Tally.options(name="listed", **FAR).remote()
    assert get(tally.node.remote()) == two.far
    assert "listed" in get(ray.remote(list_named_actors).options(**FAR).remote())
    assert {"name": "listed", "namespace": "names"} in list_named_actors(all_namespaces=True)


# -- pools and queues ----------------------------------------------------------------------------
@covers("util.ActorPool")
def test_actor_pool(two: Two) -> None:
    actors = [Tally.options(**x).remote() for x in (NEAR, FAR)]
    pool = ActorPool(actors)
    assert set(pool.map(lambda a, _: a.node.remote(), range(4))) == two.both
    assert set(pool.map_unordered(lambda a, _: a.node.remote(), range(4))) == two.both
    pool.submit(lambda a, x: a.add.remote(x), 5)
    assert pool.get_next(timeout=30) == 5


@covers("util.queue.Queue", "util.queue.Empty", "util.queue.Full")
def test_queue(two: Two) -> None:
    @ray.remote
    def give(shared: Queue, count: int) -> str:
        for i in range(count):
            shared.put((i, here()))
        return here()

    @ray.remote
    def full_or_empty(shared: Queue) -> str:
        try:
            shared.put_nowait(0)
        except Full:
            return "full"
        return "room"

    shared = Queue(maxsize=2, actor_options=ON_FAR)
    giving = [give.options(**x).remote(shared, 3) for x in (NEAR, FAR)]
    taken = [shared.get(timeout=30) for _ in range(6)]
    assert sorted(taken) == sorted((i, x) for i in range(3) for x in two.both)
    assert set(get(giving)) == two.both
    with pytest.raises(Empty):
        shared.get(block=False)
    assert issubclass(Empty, queue.Empty)
    shared.put_nowait(1)
    shared.put_nowait(2)
    assert get(full_or_empty.options(**FAR).remote(shared)) == "full"
    with pytest.raises(Full):
        shared.put_nowait(3)


@covers("util.multiprocessing.Pool")
def test_pool(two: Two) -> None:
    def initialize(mark: str) -> None:
        os.environ["OF_THE_POOL"] = mark

    # By itself it takes all nodes there are.
    until_idle()
    with Pool(4) as pool:
        assert {node for _, node in pool.map(tagged, range(40), chunksize=1)} == two.both
    with Pool(2, initialize, ("yes",), ray_remote_args=ON_FAR) as pool:
        expected = [(i, two.far) for i in range(6)]
        assert pool.map(tagged, range(6)) == expected
        assert list(pool.imap(tagged, range(6))) == expected
        assert sorted(pool.imap_unordered(tagged, range(6))) == expected
        assert pool.starmap_async(pow, [(2, 3), (3, 2)]).get(30) == [8, 9]
        assert pool.apply(os.getenv, ("OF_THE_POOL",)) == "yes"
        assert pool.apply_async(tagged, (7,)).get(30) == (7, two.far)


@covers("util.futures.Executor")
def test_executor(two: Two) -> None:
    with Executor(**FAR) as executor:
        assert executor.submit(tagged, 3).result(timeout=30) == (3, two.far)
        assert list(executor.map(tagged, range(4))) == [(i, two.far) for i in range(4)]
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result(timeout=30)
    gate = Gate.remote()
    with Executor() as executor:
        futures = [executor.submit(held._function, gate) for _ in range(4)]
        wait_for(lambda: get(gate.come.remote()) == 4)
        gate.open.remote()
        assert {x.result(timeout=30) for x in futures} == two.both


# -- listings --------------------------------------------------------------------------------------
@covers("util.state: nodes", "util.state: actors", "util.state: tasks")
def test_nodes_actors_and_tasks(two: Two) -> None:
    assert {x.node_id for x in state.list_nodes() if x.state == "ALIVE"} == two.both
    tally = Tally.options(name="in the list", **FAR).remote()
    pid = get(tally.pid.remote())
    (row,) = state.list_actors(filters=[("pid", "=", pid)], limit=5)
    assert (row.name, row.node_id, row.state) == ("in the list", two.far, "ALIVE")
    assert row.actor_id == tally._actor_id.hex()
    gate = Gate.remote()
    ref = held.options(name="held far away", **FAR).remote(gate)
    seen: list[Any] = []

    def is_in_state(wanted: str) -> bool:
        seen[:] = state.list_tasks(filters=[("name", "=", "held far away")])
        return bool(seen) and seen[0].state == wanted

    wait_for(lambda: is_in_state("RUNNING"))
    gate.open.remote()
    assert get(ref) == two.far
    wait_for(lambda: is_in_state("FINISHED"))
    assert (seen[0].task_id, seen[0].node_id) == (ref.task_id().hex(), two.far)


@covers("util.state: objects", "util.state: placement groups")
def test_objects_and_groups(two: Two) -> None:
    ref = block.options(**FAR).remote()
    ray.wait([ref], timeout=30, fetch_local=False)
    wait_for(lambda: two.far in {x.node_id for x in state.get_objects(ref.hex())})
    group = ray.util.placement_group.placement_group(
        [{"CPU": 1, "near": 0.001}, {"CPU": 1, "far": 0.001}], name="listed"
    )
    assert group.wait(30)
    (row,) = state.list_placement_groups(filters=[("placement_group_id", "=", group.id.hex())])
    assert (row.name, row.state) == ("listed", "CREATED")
    assert [x["node_id"] for x in row.bundles] == [two.near, two.far]
    ray.util.remove_placement_group(group)


# -- progress and numbers --------------------------------------------------------------------------
@covers("util.progress_bar")
def test_progress_bar(two: Two, capsys: pytest.CaptureFixture[str]) -> None:
    refs = [where.options(**x).remote() for x in (NEAR, FAR, FAR)]
    assert set(map(get, progress_bar(refs, "both nodes"))) == two.both
    assert get_with_progress(refs, "their values") == [two.near, two.far, two.far]
    shown = capsys.readouterr().err
    assert "both nodes: 100%|" in shown
    assert " 3/3 " in shown
    assert "their values: 100%|" in shown


@covers("tqdm_ray.tqdm")
def test_bars_of_tasks(two: Two, capsys: pytest.CaptureFixture[str]) -> None:
    @ray.remote(**FAR)
    def work() -> str:
        return [here() for _ in tqdm_ray.tqdm(range(5), desc="far away")][0]

    shown: list[str] = []

    def is_shown() -> bool:
        shown.append(capsys.readouterr().err)
        return "far away: 100%|" in "".join(shown)

    assert get(work.remote()) == two.far
    wait_for(is_shown)


@covers("util.metrics.Counter", "util.metrics.Gauge", "util.metrics.Histogram")
def test_metrics(two: Two) -> None:
    @ray.remote
    def report(value: float) -> str:
        metrics.Counter("names_calls", tag_keys=("who",)).inc(2, tags={"who": "task"})
        metrics.Gauge("names_depth").set(value)
        metrics.Histogram("names_seconds", boundaries=[1, 10]).observe(value)
        metrics.publish()
        return here()

    def values(name: str) -> list[list[float]]:
        return [x.values for x in metrics.snapshot() if x.name == name]

    refs = [report.options(**x).remote(i) for i, x in ((0.5, NEAR), (5.0, FAR))]
    assert get(refs) == [two.near, two.far]
    assert values("names_calls") == [[4.0]]
    assert sorted(values("names_depth")) == [[0.5], [5.0]]
    assert values("names_seconds") == [[1.0, 1.0, 0.0, 5.5]]


# -- what libraries bring --------------------------------------------------------------------------
class Sealed:
    """Cannot be pickled unless somebody says how."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        raise TypeError("sealed")


@covers("util.register_serializer")
def test_serializers(two: Two) -> None:
    read = ray.remote(lambda x: (x.value, here()))
    register_serializer(Sealed, serializer=lambda x: x.value, deserializer=Sealed)
    try:
        assert get(read.options(**FAR).remote(Sealed(4))) == (4, two.far)
    finally:
        deregister_serializer(Sealed)
    with pytest.raises(TypeError, match="sealed"):
        read.options(**FAR).remote(Sealed(4))


@covers("util.annotations")
def test_annotations(two: Two) -> None:
    @PublicAPI(stability="beta")
    @DeveloperAPI
    def marked() -> str:
        return here()

    @Deprecated
    class Old:
        def node(self) -> str:
            return here()

    assert get(ray.remote(marked).options(**FAR).remote()) == two.far
    assert get(ray.remote(Old).options(**ON_FAR).remote().node.remote()) == two.far


@covers("the ids' classes")
def test_ids_mean_the_same_on_both_nodes(two: Two) -> None:
    kinds = ("ActorID", "NodeID", "JobID", "TaskID", "WorkerID", "PlacementGroupID")
    kinds += ("ActorClassID", "FunctionID", "UniqueID")
    made = [*(getattr(ray, x).from_random() for x in kinds), ray.put(1)]
    assert isinstance(made[-1], ray.ObjectID)
    look = ray.remote(lambda ids: ([x.hex() for x in ids], ids, here()))
    assert get(look.options(**FAR).remote(made)) == ([x.hex() for x in made], made, two.far)
    ask = ray.remote(lambda: ray.get_runtime_context().node_id)
    found = get(ask.options(**FAR).remote())
    assert isinstance(found, ray.NodeID)
    assert found.hex() == two.far


@covers("RuntimeEnv")
def test_runtime_env(two: Two) -> None:
    env = ray.RuntimeEnv(env_vars={"OF_A_CLASS": "1"})
    look = ray.remote(lambda: (os.environ.get("OF_A_CLASS"), here()))
    assert get(look.options(runtime_env=env, **FAR).remote()) == ("1", two.far)
