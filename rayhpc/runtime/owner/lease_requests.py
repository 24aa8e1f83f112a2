"""The requests for leases that have not been answered for good.

Used by `submission`, in the leading thread.  A request is sent to our own raylet, which grants it,
keeps it, names a node that can, or refuses; what the messages mean: `docs/explanation/protocol.md`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rayhpc.runtime.owner.class_queue import ClassQueue
from rayhpc.runtime.owner.pending import Pending
from rayhpc.wire.address import Address, NodeNumber, node_of, raylet_of
from rayhpc.wire.messages import leases

Queue = ClassQueue[Pending]


class LeaseRequests:
    """All of one process, each also noted in its queue.

    Args:
        me: this process's address.
        send: puts a message on its way.
        changed: a queue must be looked at.
        warn: tells the user something once (a demand that no node can meet).
    """

    def __init__(
        self,
        me: Address,
        send: Callable[[Address, msgspec.Struct], None],
        changed: Callable[[Queue], None],
        warn: Callable[[str], None],
    ) -> None:
        self._me = me
        self._send = send
        self._changed = changed
        self._warn = warn
        self._raylet = raylet_of(node_of(me))
        self._queues: dict[int, Queue] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._queues)

    def ask(self, queue: Queue, now: float) -> None:
        """Request one more lease for what is in a queue."""
        self._last = number = self._last + 1
        queue.requests[number] = (node_of(self._me), now)
        self._queues[number] = queue
        backlog = max(1, len(queue.ready))
        self._send(self._raylet, leases.LeaseRequest(number, self._me, queue.wanted, backlog))

    def take(self, number: int) -> Queue | None:
        """A request has been answered for good: its queue; None: we have cancelled it."""
        queue = self._queues.pop(number, None)
        if queue is not None:
            queue.requests.pop(number, None)
            queue.queued.pop(number, None)
        return queue

    def cancel_queued(self, queue: Queue) -> None:
        """Cancel what waits at a raylet."""
        for number in list(queue.queued):
            node, _ = queue.requests.pop(number)
            del queue.queued[number], self._queues[number]
            self._send(raylet_of(node), leases.LeaseCancel(number, self._me))

    # -- messages --------------------------------------------------------------------------------
    def on_redirect(self, message: leases.LeaseRedirect) -> None:
        """Another node can grant the lease: ask there."""
        queue = self._queues.get(message.request)
        if queue is None:
            return
        _, sent = queue.requests[message.request]
        queue.requests[message.request] = (message.node, sent)
        request = leases.LeaseRequest(
            message.request, self._me, queue.wanted, max(1, len(queue.ready)), hops=1
        )
        self._send(raylet_of(message.node), request)

    def on_queued(self, message: leases.LeaseQueued) -> None:
        """Nothing is free, so the request waits; a text says why it may wait for ever."""
        queue = self._queues.get(message.request)
        if queue is None:
            return
        queue.queued[message.request] = message.text
        if message.text:
            self._warn(message.text)
        self._changed(queue)

    def on_node_gone(self, node: NodeNumber) -> None:
        """What was requested there is void."""
        for number, queue in list(self._queues.items()):
            if queue.requests[number][0] == node:
                self.take(number)
                self._changed(queue)
