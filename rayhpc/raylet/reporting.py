"""What a raylet reports about itself: heartbeats to the head, answers to questions.

Used by `node`.  A heartbeat goes out at least once a second, and soon after anything has changed,
but at most one every 50 ms.  A change of what waits alone, of which processes tell several times a
second, is sent within a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rayhpc.raylet.node_parts import NodeParts
from rayhpc.raylet.resources import Pool
from rayhpc.raylet.run_keeper import RunKeeper
from rayhpc.wire.address import HEAD, Address
from rayhpc.wire.messages import cluster, listings, looking, task_runs

BEAT_S = 1.0
SOONEST_S = 0.05
DEMAND_S = 0.25
LATEST_S = 1.5
# The most that is read of the log at once: reading holds up everything else here.
LOG_PIECE_BYTES = 256 * 1024


class Heartbeats:
    """Decides when to report what.

    Args:
        node: this node's number.
        pool: its resources.
        send: sends a message.
        now: the time in seconds, monotonic.
    """

    def __init__(
        self,
        node: int,
        pool: Pool,
        send: Callable[[Address, msgspec.Struct], None],
        now: Callable[[], float],
    ) -> None:
        self._node = node
        self._pool = pool
        self._send = send
        self._now = now
        self._last = float("-inf")
        self._version = 0
        self._told: tuple[object, ...] = ()
        self._told_backlogs = 0

    def beat(self, raylet: NodeParts) -> None:
        """Send a heartbeat if one is due."""
        now = self._now()
        state = self._state(raylet)
        if now < self._last + self._pause(raylet, state):
            return
        usage = self.usage(raylet) if state != self._told else None
        self._last = now
        self._told_backlogs = raylet.backlogs.version
        demand = raylet.backlogs.demand()
        message = cluster.Heartbeat(
            usage,
            raylet.objects.used,
            raylet.objects.spilled,
            raylet.workers.count(),
            [(resources, count, reason) for resources, count, reason, _ in demand],
            *raylet.io.errors(),
            raylet.objects.moved,
            [strategy for _, _, _, strategy in demand],
            raylet.draining.use(),
            raylet.io.heard_of_head(),
            raylet.memory.ours.used,
            raylet.memory.ours.limit,
            now,
        )
        self._send(HEAD, message)

    def repeat(self) -> None:
        """What was said last may not have reached the head: say it again."""
        self._told = ()

    def are_overdue(self) -> bool:
        """Whether a turn of the loop takes so long that the head may take the node for dead."""
        return self._now() >= self._last + LATEST_S

    def usage(self, raylet: NodeParts) -> cluster.Usage:
        """What is free here now, for the head."""
        self._version += 1
        self._told = self._state(raylet)
        return cluster.Usage(
            self._node,
            {name: max(0, amount) for name, amount in self._pool.free.items()},
            raylet.leases.waiting(),
            self._version,
            raylet.draining.is_on,
            raylet.orders,
            raylet.dispatch.revocable_in(self._pool),
        )

    def deadline(self, raylet: NodeParts) -> float:
        """When `beat` must be called."""
        return self._last + self._pause(raylet, self._state(raylet))

    def _pause(self, raylet: NodeParts, state: tuple[object, ...]) -> float:
        """How long after the last heartbeat the next is due, as things are now."""
        if state != self._told:
            return SOONEST_S
        return BEAT_S if raylet.backlogs.version == self._told_backlogs else DEMAND_S

    def _state(self, raylet: NodeParts) -> tuple[object, ...]:
        return (
            self._pool.version,
            raylet.leases.waiting(),
            raylet.draining.is_on,
            raylet.draining.is_busy(),
            raylet.orders,
            raylet.dispatch.orders,
            raylet.dispatch.revocables,
        )


class Answers:
    """Answers questions about this node.

    Args:
        raylet: the node.
        runs_kept: how many of its workers' runs it keeps.

    Attributes:
        runs: what its workers have run.
    """

    def __init__(self, raylet: NodeParts, runs_kept: int) -> None:
        self._raylet = raylet
        self.runs = RunKeeper(runs_kept)

    def on_request(self, source: Address, message: cluster.Request) -> None:
        """Answer a question."""
        rows = self._rows(message.question)
        if rows is None:
            name = type(message.question).__name__
            reply = cluster.Reply(message.token, error=f"A raylet does not answer {name}.")
        else:
            reply = cluster.Reply(message.token, msgspec.msgpack.encode(rows))
        self._raylet.send(source, reply)

    def _rows(self, question: Any) -> list[Any] | None:
        if isinstance(question, cluster.StoreObjects):
            return self._raylet.objects.rows(question.limit)
        if isinstance(question, task_runs.TaskRuns):
            return [self.runs.page(question)]
        if isinstance(question, cluster.Workers):
            ended = self._raylet.ended_workers.rows() if question.ended else []
            return [*ended, *self._processes()]
        if isinstance(question, looking.ReadLog):
            return [self._raylet.io.read_log(question.start, min(question.size, LOG_PIECE_BYTES))]
        if isinstance(question, cluster.PassOnOutput):
            self._raylet.pass_on_output(question.job)
            return []
        return None

    def _processes(self) -> list[listings.WorkerRow]:
        rows = [
            listings.WorkerRow(
                x.address,
                x.pid,
                "worker",
                x.state,
                x.key[0],
                x.actor,
                x.lease,
                started=x.started,
            )
            for x in self._raylet.workers.by_address.values()
        ]
        rows += [
            listings.WorkerRow(x.address, x.pid, x.role, "attached", x.job, started=x.started)
            for x in self._raylet.attached.values()
        ]
        return rows
