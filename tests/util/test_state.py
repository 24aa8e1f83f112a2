"""Listings of what there is in the cluster."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

import rayhpc
from rayhpc.api.state.sources import Sources
from rayhpc.exceptions import RayError
from rayhpc.util import placement_group, remove_placement_group, state
from rayhpc.wire.messages.actors import ActorRow

pytestmark = pytest.mark.usefixtures("cluster")


@rayhpc.remote
class Keeper:
    def pid(self) -> int:
        return os.getpid()

    def node(self) -> str:
        return str(rayhpc.get_runtime_context().get_node_id())


@rayhpc.remote
def held(gate: list[Any]) -> str:
    rayhpc.get(gate)
    return "done"


@rayhpc.remote
def after(_: str) -> None:
    return


@rayhpc.remote
class Gate:
    def __init__(self) -> None:
        import asyncio

        self._open = asyncio.Event()

    async def open(self) -> None:
        self._open.set()

    async def wait(self) -> None:
        await self._open.wait()


def until(look: Any, wanted: Any = bool, seconds: float = 60) -> Any:
    """What `look()` gives once it is as wanted: listings follow what happens after a moment."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if wanted(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def test_nodes() -> None:
    (node,) = state.list_nodes()
    (known,) = rayhpc.nodes()
    assert node.node_id == known["NodeID"]
    assert (node.state, node.is_head_node) == ("ALIVE", True)
    assert node.node_ip == known["NodeManagerAddress"]
    assert node.resources_total["CPU"] == 4
    assert 0 < node.start_time_ms <= time.time() * 1000
    assert node.end_time_ms == 0
    assert state.get_node(node.node_id) == node
    assert state.get_node("f" * 32) is None


def test_a_row_is_an_object_and_a_dict() -> None:
    (node,) = state.list_nodes()
    assert node["node_id"] == node.node_id == dict(node)["node_id"] == node.asdict()["node_id"]
    assert node.get("nothing", 3) == 3
    assert "node_id" in node
    with pytest.raises(KeyError):
        node["nothing"]


def test_actors_with_filters() -> None:
    actor = Keeper.options(name="keeper", namespace="here").remote()
    pid = rayhpc.get(actor.pid.remote())
    rows = state.list_actors(filters=[("class_name", "=", "Keeper"), ("state", "=", "ALIVE")])
    (row,) = [x for x in rows if x.name == "keeper"]
    assert row.actor_id == actor._actor_id.hex()
    assert (row.pid, row.ray_namespace, row.num_restarts) == (pid, "here", 0)
    assert row.node_id == rayhpc.get(actor.node.remote())
    assert row.job_id == rayhpc.get_runtime_context().get_job_id()
    assert state.get_actor(row.actor_id) == row
    assert state.list_actors(filters=[("PID", "=", str(pid))]) == [row]  # as in Ray
    assert row not in state.list_actors(filters=[("class_name", "!=", "Keeper")])
    rayhpc.kill(actor)
    dead = until(lambda: state.get_actor(row.actor_id), lambda x: x.state == "DEAD")
    assert (dead.state, dead.pid) == ("DEAD", pid)


def test_the_head_knows_the_process_of_each_life() -> None:
    """What the command line lists is the head's word alone."""
    actor = Keeper.options(max_restarts=1, max_task_retries=1).remote()

    def row() -> ActorRow:
        rows = Sources().raw_actors()
        return next(x for x in rows if x.spec.actor == actor._actor_id.binary())

    first = rayhpc.get(actor.pid.remote())
    assert row().pid == first
    rayhpc.kill(actor, no_restart=False)
    second = rayhpc.get(actor.pid.remote())
    assert second != first
    assert row().pid == second


def test_limits_and_bad_filters(caplog: pytest.LogCaptureFixture) -> None:
    actors = [Keeper.remote() for _ in range(3)]
    rayhpc.get([x.pid.remote() for x in actors])
    assert len(state.list_actors(limit=2)) == 2
    with pytest.raises(ValueError, match="no column 'nonsense'"):
        state.list_actors(filters=[("nonsense", "=", 1)])
    with pytest.raises(ValueError, match="compares"):
        state.list_actors(filters=[("pid", "~", 1)])
    with pytest.raises(ValueError, match="A filter is"):
        state.list_actors(filters=["pid=1"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="limit"):
        state.list_actors(limit=0)


def test_tasks_that_run_and_have_run() -> None:
    gate = Gate.remote()
    ref = held.options(name="the held one").remote([gate.wait.remote()])
    next_one = after.options(name="the one after it").remote(ref)
    running = until(
        lambda: state.list_tasks(filters=[("name", "=", "the held one")], limit=1000),
        lambda rows: bool(rows) and rows[0].state == "RUNNING",
    )
    assert running[0].state == "RUNNING"
    assert running[0].task_id == ref.task_id().hex()
    (waiting,) = state.list_tasks(filters=[("name", "=", "the one after it")])
    assert waiting.state == "PENDING_ARGS_AVAIL"
    assert waiting.task_id == next_one.task_id().hex()
    gate.open.remote()
    assert rayhpc.get(ref) == "done"
    row = until(lambda: state.get_task(ref.task_id().hex()), lambda x: x and x.state == "FINISHED")
    assert row.state == "FINISHED"
    assert row.end_time_ms >= row.start_time_ms
    assert row.type == "NORMAL_TASK"
    (worker,) = state.list_workers(filters=[("pid", "=", row.worker_pid)])
    assert worker.worker_id == row.worker_id
    assert state.get_worker(worker.worker_id).pid == worker.pid


def how_it_ended(worker: str) -> Any:
    """The row of a worker that ends, once it has."""
    row = until(lambda: state.get_worker(worker), lambda x: x is not None and not x.is_alive)
    assert row.state == "dead"
    return row


def test_what_the_task_of_an_idle_worker_has_submitted() -> None:
    @rayhpc.remote
    def waits(started: Any, gate: Any) -> None:
        rayhpc.get(started.open.remote())
        rayhpc.get(gate.wait.remote())

    @rayhpc.remote
    def submits(started: Any, gate: Any) -> tuple[int, list[Any]]:
        child = waits.options(name="of an idle one").remote(started, gate)
        rayhpc.get(started.wait.remote())
        return os.getpid(), [child]

    gate = Gate.remote()
    pid, (child,) = rayhpc.get(submits.remote(Gate.remote(), gate))
    owner = lambda: state.list_workers(filters=[("pid", "=", pid)])[0].state  # noqa: E731
    assert until(owner, lambda x: x == "idle") == "idle"
    (row,) = state.list_tasks(filters=[("name", "=", "of an idle one")])
    assert row.state == "RUNNING"
    assert pid in [x.pid for x in state.get_objects(child.hex())]
    gate.open.remote()
    assert rayhpc.get(child) is None


def test_workers_that_have_ended_say_how() -> None:
    @rayhpc.remote
    class Ending:
        def worker(self) -> str:
            return str(rayhpc.get_runtime_context().get_worker_id())

        def leave(self) -> None:
            rayhpc.exit_actor()

    killed, left, in_group = Ending.remote(), Ending.remote(), placement_group([{"CPU": 1}])
    grouped = Ending.options(num_cpus=1, placement_group=in_group).remote()
    workers = rayhpc.get([x.worker.remote() for x in (killed, left, grouped)])
    assert all(state.get_worker(x).is_alive for x in workers)
    rayhpc.kill(killed)
    left.leave.remote()
    remove_placement_group(in_group)
    rows = [how_it_ended(x) for x in workers]
    assert all(0 < x.start_time_ms <= x.end_time_ms <= time.time() * 1000 for x in rows)
    assert [x.exit_type for x in rows] == [
        "INTENDED_SYSTEM_EXIT",
        "INTENDED_USER_EXIT",
        "INTENDED_SYSTEM_EXIT",
    ]
    assert "kill" in rows[0].exit_detail
    assert "placement group was removed" in rows[2].exit_detail


def test_a_crash_leads_from_the_task_to_its_worker() -> None:
    with pytest.raises(RayError):
        rayhpc.get(dies.options(name="crashes", max_retries=0).remote())
    (row,) = until(lambda: _named("crashes"))
    worker = how_it_ended(row.worker_id)
    assert worker.exit_type == "SYSTEM_ERROR"
    assert "exit code 3" in worker.exit_detail


@rayhpc.remote(max_retries=0)
def raises() -> None:
    raise ValueError("no such thing")


@rayhpc.remote(max_retries=1)
def dies() -> None:
    os._exit(3)


@rayhpc.remote(max_retries=2, retry_exceptions=True)
def raises_again() -> None:
    raise ValueError("still none")


def _named(name: str) -> list[Any]:
    return state.list_tasks(filters=[("name", "=", name)], limit=1000)


def test_why_a_task_has_failed() -> None:
    with pytest.raises(RayError):
        rayhpc.get(raises.remote())
    (row,) = until(lambda: _named("raises"), lambda rows: rows and rows[0].start_time_ms)
    assert (row.state, row.error_type) == ("FAILED", "TASK_EXECUTION_EXCEPTION")
    assert "no such thing" in row.error_message
    assert row.worker_pid
    with pytest.raises(RayError):
        rayhpc.get(dies.remote())
    # Nobody tells of the first attempt but that there was a second one.
    first, row = sorted(_named("dies"), key=lambda x: x.attempt_number)
    assert (first.state, first.error_type, first.attempt_number) == ("FAILED", "WORKER_DIED", 0)
    assert first.task_id == row.task_id
    assert (row.state, row.error_type, row.attempt_number) == ("FAILED", "WORKER_DIED", 1)
    assert "exit code 3" in row.error_message
    with pytest.raises(RayError):
        rayhpc.get(raises_again.remote())
    rows = until(lambda: _named("raises_again"), lambda rows: len(rows) == 3)
    assert [x.attempt_number for x in rows] == [0, 1, 2]
    assert {x.error_type for x in rows} == {"TASK_EXECUTION_EXCEPTION"}


def test_why_a_call_has_failed() -> None:
    actor = Keeper.remote()
    rayhpc.get(actor.pid.remote())
    rayhpc.kill(actor)
    with pytest.raises(RayError):
        rayhpc.get(actor.node.remote())
    (row,) = until(lambda: _named("Keeper.node"))[-1:]
    assert (row.state, row.error_type, row.type) == ("FAILED", "ACTOR_DIED", "ACTOR_TASK")
    (gone,) = [x for x in state.list_actors(limit=1000) if x.actor_id == row.actor_id]
    assert "kill" in gone.death_cause


def test_a_task_that_runs_names_its_process() -> None:
    gate = Gate.remote()
    ref = held.options(name="running now").remote([gate.wait.remote()])
    (row,) = until(lambda: _named("running now"), lambda rows: rows and rows[0].state == "RUNNING")
    (worker,) = state.list_workers(filters=[("pid", "=", row.worker_pid)])
    assert worker.worker_id == row.worker_id
    rayhpc.cancel(ref)
    with pytest.raises(RayError):
        rayhpc.get(ref)
    (row,) = until(lambda: _named("running now"), lambda rows: rows[0].error_type)
    assert (row.state, row.error_type) == ("FAILED", "TASK_CANCELLED")


class Shown:
    """Shows itself, and runs what it is told, as long as that takes."""

    def __repr__(self) -> str:
        return "shown so"

    def run(self, gate: list[Any]) -> str:
        return str(rayhpc.get(gate))


class ShownInALoop(Shown):
    async def run(self, gate: list[Any]) -> str:
        return str(await gate[0])


@pytest.mark.parametrize(
    ("cls", "at_a_time"), [(Shown, 1), (Shown, 2), (ShownInALoop, 2)], ids=["", "threads", "loop"]
)
def test_calls_that_wait_for_their_actor_are_told_from_those_that_run(
    cls: Any, at_a_time: int
) -> None:
    gate = Gate.remote()
    opened = gate.wait.remote()
    actor = rayhpc.remote(num_cpus=0, max_concurrency=at_a_time)(cls).remote()
    name = f"{cls.__name__} {at_a_time}"
    refs = [actor.run.options(name=name).remote([opened]) for _ in range(5)]

    def states() -> list[str]:
        rows = _named(name)
        assert {x.actor_id for x in rows} <= {actor._actor_id.hex()}
        return sorted(x.state for x in rows)

    waiting = ["PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY"] * (5 - at_a_time)
    wanted = waiting + ["RUNNING"] * at_a_time
    assert until(states, lambda x: x == wanted) == wanted
    row = state.get_actor(actor._actor_id.hex())
    assert row is not None
    assert row.repr_name == "shown so"
    gate.open.remote()
    rayhpc.get(refs, timeout=20)


def test_listing_does_not_stall_while_much_is_cancelled() -> None:
    gate = Gate.remote()
    refs = [held.remote([gate.wait.remote()]) for _ in range(200)]
    for ref in refs:
        rayhpc.cancel(ref)
    # Within the limit that it is given, not after what is being cancelled has ended.
    rows = state.list_tasks(timeout=60, limit=10_000)
    assert len(rows) >= 200


def test_objects_by_holder() -> None:
    numpy = pytest.importorskip("numpy")
    small, large = rayhpc.put("x"), rayhpc.put(numpy.zeros(200_000))
    name = large.hex()
    rows = until(lambda: state.get_objects(name), lambda x: len(x) >= 2)
    assert {x.node_id for x in rows} == {rayhpc.get_runtime_context().get_node_id()}
    assert any(x.pid == os.getpid() and x.reference_type == "LOCAL_REFERENCE" for x in rows)
    assert max(x.object_size for x in rows) >= 1_600_000
    assert state.get_objects(small.hex())[0].pid == os.getpid()
    del large
    assert until(lambda: state.get_objects(name), lambda x: not x) == []


def test_jobs_and_workers() -> None:
    (job,) = state.list_jobs()
    assert job.job_id == rayhpc.get_runtime_context().get_job_id()
    assert (job.status, job.type, job.driver_info["pid"]) == ("RUNNING", "DRIVER", str(os.getpid()))
    assert state.get_job(job.job_id) == job
    assert all(x.start_time_ms and not x.end_time_ms for x in state.list_workers() if x.is_alive)
    kinds = {x.worker_type for x in state.list_workers()}
    assert "DRIVER" in kinds
    assert "WORKER" in kinds


def test_placement_groups() -> None:
    group = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="PACK", name="pair")
    assert group.wait(60)
    row = state.get_placement_group(group.id.hex())
    assert (row.name, row.state, row.strategy) == ("pair", "CREATED", "PACK")
    assert [x["unit_resources"] for x in row.bundles] == [{"CPU": 1}, {"CPU": 1}]
    assert row.bundles[0]["node_id"] == rayhpc.get_runtime_context().get_node_id()
    assert row in state.list_placement_groups()
    remove_placement_group(group)
    gone = until(
        lambda: state.list_placement_groups(filters=[("placement_group_id", "=", group.id.hex())]),
        lambda x: not x or x[0].state == "REMOVED",
    )
    assert not gone or gone[0].state == "REMOVED"


def test_summaries_count() -> None:
    actors = [Keeper.remote() for _ in range(2)]
    rayhpc.get([x.pid.remote() for x in actors])
    found = state.summarize_actors()["cluster"]
    assert found["summary"]["Keeper"]["state_counts"]["ALIVE"] >= 2
    assert found["total_actors"] >= 2
    tasks = until(
        lambda: state.summarize_tasks()["cluster"],
        lambda x: "Keeper.pid" in x["summary"],
    )
    assert tasks["summary"]["Keeper.pid"]["state_counts"]["FINISHED"] >= 2
    assert tasks["total_actor_tasks"] >= 2
    assert tasks["total_actor_scheduled"] >= 2
    objects = state.summarize_objects()["cluster"]
    assert objects["total_objects"] == sum(x["total_objects"] for x in objects["summary"].values())


def test_rays_private_tables() -> None:
    from rayhpc.compat.served._private import state as private

    actor = Keeper.options(name="private").remote()
    node = rayhpc.get(actor.node.remote())
    row = private.actors(actor._ray_actor_id.hex())
    assert row["Address"]["NodeID"] == node
    assert (row["State"], row["Name"]) == ("ALIVE", "private")
    assert private.actors()[actor._actor_id.hex()] == row
    group = placement_group([{"CPU": 1}])
    assert group.wait(60)
    table = private.state.placement_group_table(group.id)
    assert table["bundles_to_node_id"] == {0: node}
    remove_placement_group(group)
    assert set(private.available_resources_per_node()) == {node}
    assert private.total_resources_per_node()[node]["CPU"] == 4
    assert private.jobs()[0]["DriverPid"] == os.getpid()
    assert private.state.node_table()[0]["NodeID"] == private.nodes()[0]["NodeID"] == node


def test_where_objects_lie() -> None:
    numpy = pytest.importorskip("numpy")
    from rayhpc.util.locations import get_local_object_locations, get_object_locations

    small, large = rayhpc.put(1), rayhpc.put(numpy.ones(100_000))
    found = until(
        lambda: get_object_locations([small, large]), lambda x: bool(x[large]["node_ids"])
    )
    node = rayhpc.get_runtime_context().get_node_id()
    assert found[large]["node_ids"] == [node]
    assert found[large]["object_size"] >= 800_000
    assert found[small]["node_ids"] == [node]
    waits = held.remote([Gate.remote().wait.remote()])
    assert get_object_locations([waits])[waits]["node_ids"] == []
    rayhpc.cancel(waits)
    assert get_local_object_locations([large])[large]["node_ids"] == [node]
    with pytest.raises(TypeError):
        get_object_locations(["x"])


def test_no_listing_waits_for_who_has_ended_meanwhile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper.remote()
    pid = rayhpc.get(keeper.pid.remote())
    rows = Sources().raw_workers()
    assert pid in [x.pid for x in rows if x.state == "actor"]
    rayhpc.kill(keeper)
    until(lambda: Sources().raw_workers(), lambda found: pid not in [x.pid for x in found])
    monkeypatch.setattr(Sources, "raw_workers", lambda self, ended=False: rows)
    state.list_tasks()
    state.list_objects()
    assert "the listing is missing" not in caplog.text


def test_a_task_whose_owner_was_killed_is_listed_as_failed() -> None:
    @rayhpc.remote
    def waits() -> None:
        time.sleep(60)

    @rayhpc.remote
    def yields() -> Any:
        yield from range(5)

    @rayhpc.remote(num_cpus=0)
    class Owner:
        def own(self) -> Any:
            self.refs = [
                waits.options(name="of the dead", num_cpus=0).remote(),
                yields.options(
                    name="items of the dead", num_cpus=0, _generator_backpressure_num_objects=1
                ).remote(),
            ]

    owner = Owner.remote()
    rayhpc.get(owner.own.remote())

    def states() -> list[str]:
        rows = state.list_tasks(filters=[("job_id", "!=", "")], limit=10_000)
        return [x.state for x in rows if x.name.endswith("of the dead")]

    assert until(states, lambda x: x == ["RUNNING"] * 2) == ["RUNNING"] * 2
    rayhpc.kill(owner)
    assert until(states, lambda x: x == ["FAILED"] * 2) == ["FAILED"] * 2
