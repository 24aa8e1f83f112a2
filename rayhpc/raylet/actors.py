"""Actors on this node: started for the head, hosted while they live, ended when it says so.

A state machine driven by `node`.  An actor is placed with `spec.placing.resources`, which it keeps
until its constructor has returned; from then on it holds `spec.holding`.  Whether and where it is
restarted is decided by the head.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from rayhpc.raylet.bundles import ReservedBundles
from rayhpc.raylet.dispatch import Dispatch, ResourceRequest
from rayhpc.raylet.resources import Allocation, Pool
from rayhpc.raylet.workers import ACTOR, Waiter, WorkerPool, WorkerProcess
from rayhpc.wire.address import HEAD, Address
from rayhpc.wire.messages import actors

# An actor that found no room here within this time is sent back to the head, to be placed again.
ROOM_WITHIN_S = 2.0
# An actor that should exit gracefully is killed after this time, as in Ray: a call whose caller has
# died may otherwise wait forever for someone who had a handle.
END_WITHIN_S = 30.0

Send = Callable[[Address, msgspec.Struct], None]


@dataclass(eq=False)
class HostedActor:
    """One actor on this node, from the head's order to its process's end."""

    spec: actors.ActorSpec
    incarnation: int
    request: ResourceRequest | None = None
    allocation: Allocation | None = None
    waiter: Waiter | None = None
    worker: WorkerProcess | None = None
    lease: int = 0
    is_constructed: bool = False
    stopped: str | None = None
    end_by: float = math.inf


class HostedActors:
    """All actors of one node.

    Args:
        pool: the node's own resources.
        bundles: its placement group bundles.
        dispatch: the queue for resources.
        workers: its processes.
        send: sends a message.
        now: the time in seconds, monotonic.
        new_lease: returns a new lease number.
    """

    def __init__(
        self,
        pool: Pool,
        bundles: ReservedBundles,
        dispatch: Dispatch,
        workers: WorkerPool,
        send: Send,
        now: Callable[[], float],
        new_lease: Callable[[], int],
    ) -> None:
        self._pool = pool
        self._bundles = bundles
        self._dispatch = dispatch
        self._workers = workers
        self._send = send
        self._now = now
        self._new_lease = new_lease
        self._actors: dict[bytes, HostedActor] = {}
        self.is_draining = False

    # -- messages -------------------------------------------------------------------------------
    def on_start(self, message: actors.StartActor) -> None:
        """The head wants an actor here."""
        spec = message.spec
        actor = HostedActor(spec, message.incarnation)
        if self.is_draining or spec.actor in self._actors:
            self._answer(actor, "busy", reason="the node is leaving")
            return
        self._actors[spec.actor] = actor
        now = self._now()
        actor.request = ResourceRequest(
            ("actors", spec.job),
            spec.placing.resources,
            lambda: self._pools(spec),
            lambda allocation: self._granted(actor, allocation),
            now,
            now + (message.within or ROOM_WITHIN_S),
            lambda: self._no_room(actor),
        )
        self._dispatch.add(actor.request)
        self._dispatch.run()

    def on_constructed(self, source: Address, message: actors.Constructed) -> None:
        """A constructor has returned, or raised."""
        actor = self._actors.get(message.actor)
        if actor is None or actor.worker is None or actor.worker.address != source:
            return
        if message.error:
            # The worker exits by itself; this message tells the head that it is over.
            self._forget(actor)
            self._answer(actor, "failed", error=message.error)
            return
        actor.is_constructed = True
        assert actor.allocation is not None
        actor.allocation.pool.shrink(actor.allocation, actor.spec.holding)
        self._dispatch.is_dirty = True
        self._answer(actor, "ok", address=source, title=message.title)

    def place_again(self, lease: int) -> bool:
        """A constructor has not started, and cannot here: the head places its actor again.

        Returns:
            Whether there is such an actor.
        """
        actor = self._with_lease(lease)
        if actor is None or actor.worker is None:
            return False
        self._workers.kill(actor.worker, "others use what its actor needs")
        self._no_room(actor)
        return True

    def on_stop(self, message: actors.StopActor) -> None:
        """The head wants an actor ended."""
        actor = self._actors.get(message.actor)
        if actor is None or actor.incarnation != message.incarnation:
            return
        worker = actor.worker
        actor.stopped = message.reason
        if worker is None:
            self._forget(actor)
            self._send(
                HEAD, actors.ActorEnded(message.actor, message.incarnation, message.reason, True)
            )
        elif message.graceful and actor.is_constructed:
            actor.end_by = min(actor.end_by, self._now() + END_WITHIN_S)
            self._send(worker.address, actors.EndActor(message.reason))
        else:
            self._workers.kill(worker, message.reason)

    def on_worker_gone(self, worker: WorkerProcess, reason: str) -> None:
        """A worker's process is gone: if it hosted an actor, the head is told."""
        actor = self._actors.get(worker.actor)
        if actor is None or actor.worker is not worker:
            return
        self._forget(actor)
        intended = actor.stopped is not None or worker.left is not None
        text = actor.stopped or worker.left or reason
        ended = actors.ActorEnded(
            actor.spec.actor, actor.incarnation, text, intended, worker.for_memory
        )
        self._send(HEAD, ended)

    def on_group_removed(self, group: bytes) -> None:
        """A placement group is gone: its actors end."""
        for actor in list(self._actors.values()):
            if actor.spec.placing.strategy.group != group:
                continue
            if actor.worker is not None:
                actor.stopped = "its placement group was removed"
                self._workers.kill(actor.worker, actor.stopped)
            else:
                self._forget(actor)
                self._answer(actor, "busy", reason="its placement group was removed")

    # -- time -------------------------------------------------------------------------------------
    def on_time(self) -> None:
        """Kill the actors that should have exited gracefully and have not."""
        now = self._now()
        for actor in self._actors.values():
            if actor.end_by <= now and actor.worker is not None:
                actor.end_by = math.inf
                self._workers.kill(
                    actor.worker, f"{actor.stopped}; it had not ended after {END_WITHIN_S:.0f} s"
                )

    def deadline(self) -> float:
        """When `on_time` has something to do; infinity: never."""
        return min((x.end_by for x in self._actors.values()), default=math.inf)

    # -- queries ----------------------------------------------------------------------------------
    def allocation_of(self, lease: int) -> Allocation | None:
        """What the actor with this lease number holds."""
        actor = self._with_lease(lease)
        return None if actor is None else actor.allocation

    def count(self) -> int:
        """The number of actors running or being started."""
        return len(self._actors)

    # -- details ----------------------------------------------------------------------------------
    def _with_lease(self, lease: int) -> HostedActor | None:
        return next((x for x in self._actors.values() if x.lease == lease), None)

    def _pools(self, spec: actors.ActorSpec) -> list[Pool]:
        strategy = spec.placing.strategy
        if strategy.kind == "group":
            return self._bundles.pools(strategy.group, strategy.bundle, spec.placing.resources)
        return [self._pool]

    def _granted(self, actor: HostedActor, allocation: Allocation) -> None:
        """The resources are available: now get a worker."""
        actor.request = None
        actor.allocation = allocation
        spec = actor.spec
        actor.waiter = Waiter(
            (spec.job, spec.placing.environment),
            lambda worker: self._construct(actor, worker),
            lambda text: self._cannot_start(actor, text),
            fresh=True,
            gpus=bool(allocation.devices()),
            crowded=lambda text: self._cannot_start(actor, text),
        )
        self._workers.acquire(actor.waiter)

    def _construct(self, actor: HostedActor, worker: WorkerProcess) -> None:
        """A worker is available: it becomes the actor."""
        assert actor.allocation is not None
        actor.worker = worker
        actor.lease = self._new_lease()
        worker.state = ACTOR
        worker.actor = actor.spec.actor
        worker.lease = actor.lease
        worker.name = actor.spec.class_name
        message = actors.Construct(
            actor.spec, actor.incarnation, actor.allocation.devices(), actor.lease
        )
        self._send(worker.address, message)

    def _no_room(self, actor: HostedActor) -> None:
        actor.request = None
        self._forget(actor)
        self._answer(actor, "busy", reason="no room")

    def _cannot_start(self, actor: HostedActor, text: str) -> None:
        self._forget(actor)
        self._answer(actor, "environment", reason=text)

    def _answer(
        self,
        actor: HostedActor,
        status: str,
        address: Address = 0,
        reason: str = "",
        error: bytes = b"",
        title: str = "",
    ) -> None:
        pid = 0 if actor.worker is None else actor.worker.pid
        answer = actors.ActorStarted(
            actor.spec.actor, actor.incarnation, status, address, reason, error, pid, title
        )
        self._send(HEAD, answer)

    def _forget(self, actor: HostedActor) -> None:
        """Release what an actor holds or waits for."""
        if self._actors.get(actor.spec.actor) is actor:
            del self._actors[actor.spec.actor]
        if actor.request is not None:
            self._dispatch.cancel(actor.request)
            actor.request = None
        if actor.waiter is not None:
            actor.waiter.is_cancelled = True
        if actor.allocation is not None:
            actor.allocation.pool.give_back(actor.allocation)
            actor.allocation = None
            self._dispatch.is_dirty = True
