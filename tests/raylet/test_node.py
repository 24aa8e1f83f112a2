"""The raylet as a whole, without sockets: deaths in their order, the cluster's changes, its end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from rayhpc.raylet.config import NODE_LOST, NodeConfig
from rayhpc.raylet.garbage import EVERY_S
from rayhpc.raylet.memory_monitor import MemoryMonitor, Pressure
from rayhpc.raylet.node import Raylet
from rayhpc.raylet.objects import ObjectManager
from rayhpc.raylet.orphans import GRACE_S
from rayhpc.store.arena import Arena
from rayhpc.wire import messages
from rayhpc.wire.address import HEAD, Address, make_address, raylet_of
from rayhpc.wire.keys import ClusterKey, new_cluster_id, new_key_pair
from rayhpc.wire.messages import actors, cluster, leases, listings, objects, task_runs
from rayhpc.wire.messages.start import Facts, WorkerConfig
from tests.raylet.doubles import Channel, actor_spec, node_info, units, wanted

FAR = make_address(2, 9)


class Paper:
    """The world on paper."""

    count = 16

    def __init__(self) -> None:
        self.slots = self
        self.done: list[tuple[str, Any]] = []
        self.notes: dict[int, tuple[bytes, list[bytes]]] = {}
        self.spawned: list[int] = []

    def spawn(self, number: int, *_: Any) -> None:
        self.spawned.append(number)

    def kill(self, number: int) -> None:
        self.done.append(("kill", number))

    def make_template(self, _: Any) -> Channel:
        return Channel()

    def read(self, index: int) -> tuple[bytes, list[bytes]]:
        self.done.append(("read slot", index))
        return self.notes.get(index, (b"", []))

    def clear(self, index: int) -> None:
        self.done.append(("clear slot", index))

    def read_output(self, number: int) -> None:
        self.done.append(("read output", number))

    def drain_output(self, number: int) -> None:
        self.done.append(("drain", number))

    def forget_process(self, address: Address) -> None:
        self.done.append(("forget", address))

    def forget_node(self, node: int, reason: str) -> None:
        self.done.append(("forget node", node))

    def learn_node(self, info: Any) -> None:
        self.done.append(("learn", info.number))

    def redial(self, node: int) -> None:
        self.done.append(("redial", node))

    def errors(self) -> tuple[int, str]:
        return 3, "an error"

    def heard_of_head(self) -> int:
        return 0

    def wake(self) -> None:
        self.done.append(("wake", 0))


class Site:
    """A raylet, its world, and what it has sent."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.paper = Paper()
        config = NodeConfig(
            session_dir="/session",
            cluster=ClusterKey(
                cluster_id=new_cluster_id(),
                node=new_key_pair(),
                head_public=new_key_pair().public,
                head_endpoints=[],
            ),
            node_ip="10.0.0.1",
            bind=["10.0.0.1"],
            hostname="host1",
            total=units(CPU=2),
            store_bytes=1 << 20,
            python="3.11",
            version="0",
        )
        self.arena = Arena.create(1 << 20)
        self.store = ObjectManager(1, self.arena, [], self.send, self.now, random.Random(1))
        facts = Facts(0, "c", "/session", "id", "10.0.0.1", 0, "")
        self.raylet = Raylet(
            config,
            cluster.Registered(1, [node_info(1, CPU=2), node_info(2, CPU=2)], 0.0),
            WorkerConfig(facts, 64, 1 << 20, 65, 0),
            self.paper,
            self.store,
            MemoryMonitor(lambda: [Pressure(7, 90, "this node's")], lambda pid: 0, self.now),
            self.send,
            self.now,
            self.now,
        )
        self.driver = self.raylet.attach({"role": "driver", "namespace": "n"}, 77).address

    def now(self) -> float:
        return self.time

    def send(self, address: Address, message: msgspec.Struct) -> None:
        self.paper.done.append(("send", (address, message)))

    def say(self, source: Address, message: msgspec.Struct) -> None:
        self.raylet.handle(source, message)
        self.raylet.settle()

    def boot(self) -> None:
        for number in self.paper.spawned:
            self.raylet.workers.on_spawned(number, 500 + number)
            self.say(make_address(1, number), leases.WorkerReady(500 + number))
        self.paper.spawned.clear()

    def request(self, number: int, client: Address, hops: int = 0) -> None:
        what = wanted(number=65537)
        self.say(client, leases.LeaseRequest(number, client, what, 1, hops))

    def sent(self, kind: type) -> list[tuple[Address, Any]]:
        return [x for name, x in self.paper.done if name == "send" and isinstance(x[1], kind)]

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.raylet.on_time()
        self.raylet.settle()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.store.close()


def test_every_message_a_raylet_takes_has_a_handler(site: Site) -> None:
    while_joining = {cluster.Registered, cluster.RegistrationRefused}
    taken = set(messages.RAYLET_TAKES) - while_joining
    assert taken <= set(site.raylet._handlers)


def test_a_driver_gets_a_job_that_the_head_hears_of(site: Site) -> None:
    ((_, started),) = site.sent(cluster.JobStarted)
    assert started.job.driver == site.driver
    assert started.job.number == 65537
    facts = site.raylet.attach({"role": "observer"}, 78)
    assert facts.job == 0
    assert len(site.sent(cluster.JobStarted)) == 1


def test_what_follows_a_workers_death_has_its_order(site: Site) -> None:
    site.boot()
    site.request(1, site.driver)
    ((_, grant),) = site.sent(leases.LeaseGranted)
    worker = site.raylet.workers.by_address[grant.worker]
    site.say(FAR, leases.Watch(worker.address, FAR))
    site.paper.notes[worker.slot] = (b"t" * 16, [b"result"])
    site.paper.done.clear()
    site.raylet.worker_ended(worker.pid, 9)
    steps = [
        type(x[1]).__name__ if name == "send" else name
        for name, x in site.paper.done
        if name != "send" or not isinstance(x[1], cluster.Heartbeat)
    ]
    assert steps[:7] == [
        "drain",
        "read slot",
        "LeaseBroken",
        "Died",
        "ProcessDied",
        "clear slot",
        "forget",
    ]
    ((_, broken),) = site.sent(leases.LeaseBroken)
    assert (broken.started, broken.unsent) == (b"t" * 16, [b"result"])
    assert "SIGKILL" in broken.reason
    ((_, died),) = site.sent(cluster.ProcessDied)
    assert (died.address, died.code, died.is_driver) == (worker.address, -9, False)


def test_an_actors_death_is_told_before_its_processs(site: Site) -> None:
    site.boot()
    spec = msgspec.structs.replace(actor_spec(placing=wanted(number=65537)), job=65537)
    site.say(HEAD, actors.StartActor(spec, 0))
    ((address, _),) = site.sent(actors.Construct)
    site.raylet.worker_ended(site.raylet.workers.by_address[address].pid, 0)
    kinds = [type(x[1]) for name, x in site.paper.done if name == "send" and x[0] == HEAD]
    assert kinds.index(actors.ActorEnded) < kinds.index(cluster.ProcessDied)


def test_a_process_that_has_ended_is_dead_for_later_watchers(site: Site) -> None:
    site.say(FAR, leases.Watch(make_address(1, 4711), FAR))
    assert [m.target for _, m in site.sent(leases.Died)] == [make_address(1, 4711)]


def test_a_drivers_end_ends_what_ran_for_it(site: Site) -> None:
    site.boot()
    site.request(1, site.driver)
    site.raylet.detach(site.driver, "it has disconnected")
    assert [x for name, x in site.paper.done if name == "kill"]
    ((_, died),) = site.sent(cluster.ProcessDied)
    assert died.is_driver
    idle = [a for a, _ in site.sent(leases.ExitIfIdle)]
    assert len(idle) == 0  # the other worker is plain: it may be the next job's
    site.request(2, site.driver)
    assert len(site.sent(leases.LeaseGranted)) == 1


def test_a_far_submitter_is_watched_and_its_death_ends_its_workers(site: Site) -> None:
    site.boot()
    site.request(1, FAR, hops=1)
    assert (raylet_of(2), leases.Watch(FAR, raylet_of(1))) in site.sent(leases.Watch)
    site.say(raylet_of(2), leases.Died(FAR, "killed"))
    # It may say first what it ran.
    assert len(site.sent(leases.SubmitterGone)) == 1
    assert [x for name, x in site.paper.done if name == "kill"] == []
    site.wait(GRACE_S + 0.01)
    assert len([x for name, x in site.paper.done if name == "kill"]) == 1


def test_a_dead_node_is_told_to_all_processes(site: Site) -> None:
    site.boot()
    site.request(1, FAR, hops=1)
    site.say(HEAD, leases.NodeGone(2, "silent"))
    told = {a for a, _ in site.sent(leases.NodeGone)}
    assert told == set(site.raylet.processes())
    assert ("forget node", 2) in site.paper.done
    assert len([x for name, x in site.paper.done if name == "kill"]) == 1
    site.say(HEAD, leases.NodeGone(2, "silent"))
    assert len(site.sent(leases.NodeGone)) == len(told)


def test_a_broken_link_is_the_heads_to_judge_if_it_does_not_explain_it(site: Site) -> None:
    site.raylet.link_broken(2)
    site.wait(1)
    assert ("redial", 2) in site.paper.done
    site.wait(4)
    assert not site.sent(cluster.LinkBroken)
    site.wait(2)
    assert [m for _, m in site.sent(cluster.LinkBroken)] == [cluster.LinkBroken(2)]
    site.raylet.link_broken(2)
    site.say(HEAD, leases.NodeGone(2, "silent"))
    site.wait(7)
    assert len(site.sent(cluster.LinkBroken)) == 1


def test_a_link_that_is_whole_again_is_no_matter_for_the_head(site: Site) -> None:
    site.raylet.link_broken(2)
    site.wait(5)
    site.raylet.broken_links.drop(2)
    site.paper.done.clear()
    site.wait(7)
    assert not site.sent(cluster.LinkBroken)
    assert ("redial", 2) not in site.paper.done


def test_a_forced_cancel_kills_only_a_worker_that_runs_that_task(site: Site) -> None:
    site.boot()
    site.request(1, site.driver)
    (granted,) = [m for _, m in site.sent(leases.LeaseGranted)]
    task = bytes(15) + b"\x07"
    site.say(site.driver, leases.LeaseReturn(granted.grant.lease, kill=True, task=task))
    assert not [x for name, x in site.paper.done if name == "kill"]
    worker = site.raylet.workers.by_address[granted.worker]
    site.paper.notes[worker.slot] = (task, [])
    site.say(site.driver, leases.LeaseReturn(granted.grant.lease, kill=True, task=task))
    assert [x for name, x in site.paper.done if name == "kill"]


def test_a_node_that_is_declared_dead_ends(site: Site) -> None:
    site.say(HEAD, leases.NodeGone(1, "silent"))
    assert site.raylet.ended is not None
    assert site.raylet.ended[0] == NODE_LOST


def test_it_ends_with_the_code_the_head_says(site: Site) -> None:
    site.say(HEAD, leases.Shutdown("the driver has ended", 3))
    assert site.raylet.ended == (3, "the driver has ended")


def test_heartbeats_come_each_second_and_soon_after_a_change(site: Site) -> None:
    site.boot()
    site.wait(0.1)
    before = len(site.sent(cluster.Heartbeat))
    site.wait(0.1)
    assert len(site.sent(cluster.Heartbeat)) == before
    site.request(1, site.driver)
    beats = site.sent(cluster.Heartbeat)
    assert len(beats) == before + 1
    assert beats[-1][1].usage.available["CPU"] == units(CPU=1)["CPU"]
    site.request(2, site.driver)
    assert len(site.sent(cluster.Heartbeat)) == before + 1
    assert site.raylet.deadline() <= site.time + 0.05
    site.wait(0.06)
    assert len(site.sent(cluster.Heartbeat)) == before + 2
    site.wait(1.0)
    last = site.sent(cluster.Heartbeat)[-1][1]
    assert (last.memory, last.memory_limit) == (7, 90)
    assert last.usage is None
    assert last.workers == 2


def test_what_waits_is_told_within_a_quarter_of_a_second_and_goes_with_its_owner(
    site: Site,
) -> None:
    def told() -> list[Any]:
        return [m.demand for _, m in site.sent(cluster.Heartbeat)]

    site.boot()
    site.wait(1.0)
    before = len(told())
    what = wanted(number=65537)
    for count in range(1, 6):
        site.say(site.driver, leases.Backlog([leases.ClassBacklog(what, count)]))
        site.wait(0.04)
    assert len(told()) == before
    assert site.raylet.deadline() <= site.time + 0.06
    site.wait(0.06)
    assert len(told()) == before + 1
    ((resources, count, _),) = told()[-1]
    assert (resources, count) == (units(CPU=1), 5)
    site.raylet.detach(site.driver, "it has ended")
    site.wait(0.25)
    assert told()[-1] == []


def test_a_long_turn_does_not_hold_up_the_heartbeats(site: Site) -> None:
    """On a machine that is overloaded thousands of messages may take seconds."""
    site.boot()
    before = len(site.sent(cluster.Heartbeat))
    for _ in range(40):
        site.time += 0.1
        site.raylet.handle(FAR, leases.Watch(FAR, FAR))
    assert len(site.sent(cluster.Heartbeat)) - before in (2, 3)


def test_processes_look_for_garbage_when_the_store_fills_up(site: Site) -> None:
    site.boot()
    site.raylet.settle()
    assert site.sent(objects.CollectGarbage) == []
    site.say(site.driver, objects.StoreCreate(b"o" * 28, 800_000))
    asked = [address for address, _ in site.sent(objects.CollectGarbage)]
    assert set(asked) == {site.driver, *site.raylet.workers.by_address}
    # A store that stays full has them look again, but not at once.
    site.time += EVERY_S - 1
    site.raylet.settle()
    assert len(site.sent(objects.CollectGarbage)) == len(asked)
    site.time += 1
    site.raylet.settle()
    assert len(site.sent(objects.CollectGarbage)) == 2 * len(asked)


def test_draining_ends_when_nothing_runs_or_time_is_up(site: Site) -> None:
    site.boot()
    site.request(1, FAR, hops=1)
    ((_, grant),) = site.sent(leases.LeaseGranted)
    site.raylet.detach(site.driver, "left")
    site.raylet.drain("told to", 5.0)
    site.wait(1.0)
    assert site.raylet.ended is None
    beats = [m for _, m in site.sent(cluster.Heartbeat) if m.usage is not None]
    assert beats[-1].usage.draining
    site.say(FAR, leases.LeaseReturn(grant.grant.lease))
    assert site.raylet.ended == (0, "told to")
    late = Site()
    late.boot()
    late.raylet.drain("told to", 5.0)
    late.wait(5.1)
    assert late.raylet.ended == (0, "told to")
    late.store.close()


def test_a_drain_that_stays_sends_idle_workers_away_and_is_revoked(site: Site) -> None:
    site.boot()
    site.raylet.detach(site.driver, "left")
    site.say(HEAD, cluster.Drain("idle", 0.0, stays=True))
    site.raylet.settle()
    assert {a for a, _ in site.sent(leases.ExitIfIdle)} == set(site.raylet.workers.by_address)
    site.wait(30.0)
    last = site.sent(cluster.Heartbeat)[-1][1]
    assert site.raylet.ended is None
    assert last.use.busy == ""
    assert last.use.idle_s >= 30.0
    assert last.use.keeps == "2 workers"
    site.request(1, FAR, hops=1)
    assert site.sent(leases.LeaseGranted) == []
    site.say(HEAD, cluster.Undrain())
    site.wait(1.0)
    beats = [m for _, m in site.sent(cluster.Heartbeat) if m.usage is not None]
    assert not beats[-1].usage.draining
    site.request(2, FAR, hops=1)
    assert site.sent(cluster.Heartbeat)[-1][1].use.keeps == ""


def test_a_node_that_is_told_to_end_takes_no_work_again(site: Site) -> None:
    site.boot()
    site.raylet.drain("told to", 5.0)
    site.say(HEAD, cluster.Undrain())
    assert site.raylet.draining.is_on


def test_a_node_says_what_it_is_in_use_for(site: Site) -> None:
    site.boot()
    site.request(1, FAR, hops=1)
    site.say(HEAD, actors.PrepareBundles(b"g" * 16, 1, {0: units(CPU=1)}))
    site.wait(1.0)
    use = site.sent(cluster.Heartbeat)[-1][1].use
    assert use.busy == "1 program, 1 lease, 1 placement group"
    assert use.idle_s == 0.0


def test_an_actor_keeps_its_node_in_use_although_nobody_calls_it(site: Site) -> None:
    site.boot()
    site.raylet.detach(site.driver, "left")
    spec = msgspec.structs.replace(actor_spec(placing=wanted(number=65537)), job=65537)
    site.say(HEAD, actors.StartActor(spec, 0))
    site.say(HEAD, cluster.Drain("idle", 0.0, stays=True))
    site.wait(60.0)
    use = site.sent(cluster.Heartbeat)[-1][1].use
    assert (use.busy, use.idle_s) == ("1 actor", 0.0)
    site.say(HEAD, actors.StopActor(spec.actor, 0, False, "killed"))
    ((address, _),) = site.sent(actors.Construct)
    site.raylet.worker_ended(site.raylet.workers.by_address[address].pid, 0)
    site.wait(1.0)
    assert site.sent(cluster.Heartbeat)[-1][1].use.busy == ""


def test_bundles_are_answered_and_wait_only_shortly(site: Site) -> None:
    site.say(HEAD, actors.PrepareBundles(b"g" * 16, 1, {0: units(CPU=2)}))
    assert [m.ok for _, m in site.sent(actors.BundlesPrepared)] == [True]
    site.say(HEAD, actors.PrepareBundles(b"h" * 16, 2, {0: units(CPU=1)}))
    site.wait(0.6)
    assert [(m.attempt, m.ok) for _, m in site.sent(actors.BundlesPrepared)][1:] == [(2, False)]
    site.say(HEAD, actors.ReleaseBundles(b"g" * 16, False))
    assert site.raylet.pool.free == site.raylet.pool.total


def test_questions_are_answered(site: Site) -> None:
    site.boot()
    site.say(site.driver, cluster.Request(5, cluster.Workers()))
    ((address, reply),) = site.sent(cluster.Reply)
    rows = msgspec.msgpack.decode(reply.data, type=list[listings.WorkerRow])
    assert (address, reply.token) == (site.driver, 5)
    assert sorted(x.kind for x in rows) == ["driver", "worker", "worker"]
    site.say(make_address(1, 1), task_runs.ReportRuns(3, 2, b"packed"))
    site.say(site.driver, cluster.Request(6, task_runs.TaskRuns()))
    reply = site.sent(cluster.Reply)[-1][1]
    (page,) = msgspec.msgpack.decode(reply.data, type=list[task_runs.RunPage])
    assert page == task_runs.RunPage([b"packed"], dropped=2, position=6)
    site.say(site.driver, cluster.Request(7, cluster.Nodes()))
    assert "Nodes" in site.sent(cluster.Reply)[-1][1].error


def test_a_jobs_output_is_passed_on_before_the_answer(site: Site) -> None:
    site.boot()
    site.request(1, site.driver)
    (job,) = {x.key[0] for x in site.raylet.workers.by_address.values()} - {0}
    mine = [x.number for x in site.raylet.workers.by_address.values() if x.key[0] == job]
    del site.paper.done[:]
    site.say(site.driver, cluster.Request(5, cluster.PassOnOutput(job)))
    answer = cluster.Reply(5, msgspec.msgpack.encode([]))
    assert site.paper.done == [
        *[("read output", x) for x in mine],
        ("send", (site.driver, answer)),
    ]
    del site.paper.done[:]
    site.say(site.driver, cluster.Request(6, cluster.PassOnOutput(job + 1)))
    assert [name for name, _ in site.paper.done] == ["send"]


def test_the_object_managers_messages_reach_it(site: Site) -> None:
    oid = site.driver.to_bytes(8, "big") + (1).to_bytes(8, "big")
    site.say(site.driver, objects.StoreCreate(oid, 1000))
    ((address, created),) = site.sent(objects.StoreCreated)
    assert address == site.driver
    assert created.offset >= 0
