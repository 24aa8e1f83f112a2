"""Leases: which submitter has which worker of this node, from request to return.

A state machine driven by `node`: messages in, messages out through `send`.  `scheduling` and
`group_choice` decide where a request goes, `dispatch` who comes next, `workers` which process
serves it.  What each message means, and what follows a death: `docs/explanation/protocol.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from rayhpc.raylet import group_choice, scheduling
from rayhpc.raylet.bundles import ReservedBundles
from rayhpc.raylet.dispatch import Dispatch, ResourceRequest, Revocable
from rayhpc.raylet.last_starts import LastStarts
from rayhpc.raylet.lease_reasons import why_for_ever
from rayhpc.raylet.lease_records import GrantedLease, PendingLease
from rayhpc.raylet.orphans import Orphans
from rayhpc.raylet.resources import Allocation, Pool, shortage, times_more
from rayhpc.raylet.view import ClusterView
from rayhpc.raylet.workers import LEAVING, Waiter, WorkerPool, WorkerProcess
from rayhpc.wire.address import Address, NodeNumber, node_of
from rayhpc.wire.messages import actors, leases
from rayhpc.wire.messages.common import Grant

# After this time the user hears of a demand that no node can meet: nodes may still be joining.
TELL_AFTER_S = 0.5
# A request for any bundle of a group that has waited this long tries the group's next node.
ROTATE_AFTER_S = 0.2
# How long a request waits, where its data is, for revoked capacity before it goes anywhere.
NEAR_WITHIN_S = 0.1

Send = Callable[[Address, msgspec.Struct], None]


class Leases:
    """All requests and leases of one node.

    Args:
        pool: the node's own resources.
        bundles: its placement group bundles.
        dispatch: the queue for resources.
        view: the cluster.
        workers: its processes.
        send: sends a message.
        now: the time in seconds, monotonic.
        wall: seconds since the epoch, for tasks that say how long they run.
        watch: called with a submitter's address, whose end must be reported.
    """

    def __init__(
        self,
        pool: Pool,
        bundles: ReservedBundles,
        dispatch: Dispatch,
        view: ClusterView,
        workers: WorkerPool,
        send: Send,
        now: Callable[[], float],
        wall: Callable[[], float],
        watch: Callable[[Address], None],
    ) -> None:
        self._pool = pool
        self._bundles = bundles
        self._dispatch = dispatch
        self._view = view
        self._workers = workers
        self._send = send
        self._now = now
        self._watch = watch
        self._wall = wall
        self._last_starts = LastStarts(view, now, wall)
        self._requests: dict[tuple[Address, int], PendingLease] = {}
        self._leases: dict[int, GrantedLease] = {}
        # By worker, then by submitter: the last revoked lease, and what had started under it.
        self._taken_back: dict[Address, dict[Address, tuple[int, bytes]]] = {}
        # Per kind of strategy: how many requests have been given a node with room.
        self._turns: Counter[str] = Counter()
        self._orphans = Orphans(now)
        self._lease_number = 0
        self.is_draining = False

    # -- messages from submitters ---------------------------------------------------------------
    def on_request(self, message: leases.LeaseRequest) -> None:
        """A submitter wants a worker."""
        request = PendingLease(
            message.client,
            message.request,
            message.wanted,
            self._now(),
            message.hops,
            message.backlog,
            kind=msgspec.msgpack.encode(message.wanted),
        )
        self._requests[request.client, request.number] = request
        # It may have ended before its request came; a waiting submitter is watched like a holder.
        self._watch(request.client)
        self._place(request)

    def on_cancel(self, message: leases.LeaseCancel) -> None:
        """A submitter no longer wants a worker."""
        request = self._requests.get((message.client, message.request))
        if request is not None:
            self._drop(request)

    def on_return(self, message: leases.LeaseReturn) -> None:
        """A submitter no longer needs a worker."""
        lease = self._leases.get(message.lease)
        if lease is None:
            return
        if message.kill:
            self._workers.kill(lease.worker, "its task was cancelled by force")
        elif lease.revocable.revoking:
            # The worker is about to answer: until then it would refuse the next submitter's tasks.
            lease.returned = True
        else:
            self._end(lease)

    # -- messages from workers ------------------------------------------------------------------
    def on_revoked(self, message: leases.Revoked, started: bytes = b"") -> None:
        """A worker has given its lease back; `started` is what it last ran under it."""
        lease = self._leases.get(message.lease)
        if lease is not None:
            self._end_by_worker(lease, started)

    def on_left(self, worker: WorkerProcess, started: bytes) -> None:
        """A worker runs nothing any more; it may stay for those who hold objects it owns."""
        lease = self._leases.get(worker.lease)
        if lease is not None:
            self._end_by_worker(lease, started)

    def on_blocked(self, allocation: Allocation) -> None:
        """A worker's task waits for others: its CPUs are free."""
        allocation.pool.lend(allocation)
        self._dispatch.is_dirty = True

    def on_unblocked(self, allocation: Allocation) -> None:
        """The task continues."""
        allocation.pool.unlend(allocation)

    def allocation_of(self, number: int) -> Allocation | None:
        """What a lease holds."""
        lease = self._leases.get(number)
        return None if lease is None else lease.revocable.allocation

    def worker_of(self, number: int) -> WorkerProcess | None:
        """The worker of a lease."""
        lease = self._leases.get(number)
        return None if lease is None else lease.worker

    # -- deaths and changes ---------------------------------------------------------------------
    def on_worker_gone(
        self, worker: WorkerProcess, started: bytes, unsent: list[bytes], reason: str
    ) -> None:
        """A worker's process is gone: its submitter is told what had started."""
        self._orphans.forget(worker)
        before = self._taken_back.pop(worker.address, {})
        lease = self._leases.get(worker.lease)
        if lease is not None and lease.worker is worker:
            before.pop(lease.client, None)
        for client, (number, last) in before.items():
            message = leases.LeaseBroken(
                number, worker.address, last, reason, worker.for_memory, unsent
            )
            self._send(client, message)
        if lease is None or lease.worker is not worker:
            return
        if not lease.returned:
            message = leases.LeaseBroken(
                lease.number, worker.address, started, reason, worker.for_memory, unsent
            )
            self._send(lease.client, message)
        self._end(lease)

    def on_client_gone(self, client: Address, reason: str, *, at_once: bool = True) -> None:
        """A submitter is gone: what ran for it ends, with the workers.

        `at_once`: nobody is left who could ask what they ran.
        """
        for request in [x for x in self._requests.values() if x.client == client]:
            self._drop(request)
        for before in self._taken_back.values():
            before.pop(client, None)
        for lease in [x for x in self._leases.values() if x.client == client]:
            lease.returned = True
            why = f"its submitter has ended ({reason})"
            if at_once:
                self._workers.kill(lease.worker, why)
            else:
                lease.worker.death = lease.worker.death or why
                lease.worker.state = LEAVING
                self._orphans.add(lease.worker)
                self._send(lease.worker.address, leases.SubmitterGone(lease.number))

    def on_node_gone(self, node: NodeNumber, reason: str) -> None:
        """Every submitter there is gone."""
        clients = {x.client for x in self._requests.values()}
        clients |= {x.client for x in self._leases.values()}
        for client in sorted(clients):
            if node_of(client) == node:
                self.on_client_gone(client, reason)

    def on_group_removed(self, group: bytes) -> None:
        """A placement group is gone: its leases end, and requests waiting for it are refused."""
        text = "The placement group was removed."
        for request in list(self._requests.values()):
            if request.wanted.strategy.group == group:  # also where only a worker is missing
                self._refuse(request, leases.GROUP_REMOVED, text)
        for lease in list(self._leases.values()):
            if self._bundles.index_of(group, lease.revocable.allocation.pool) >= 0:
                self._workers.kill(lease.worker, "its placement group was removed")

    def on_view_changed(self) -> None:
        """Other nodes have changed: waiting requests may go elsewhere."""
        for request in list(self._requests.values()):
            if request.resource_request is not None and request.resource_request in self._dispatch:
                self._reconsider(request)

    def drain(self) -> None:
        """Take no new work: waiting requests are sent away."""
        self.is_draining = True
        self.on_view_changed()

    def serve(self) -> None:
        """Take new work again."""
        self.is_draining = False
        self.on_view_changed()

    # -- time -----------------------------------------------------------------------------------
    def on_time(self) -> None:
        """Report requests that may wait forever; try a group's next node."""
        now = self._now()
        for orphan in self._orphans.due():
            self._workers.kill(orphan, orphan.death)
        self._last_starts.revoke_due()
        if self._view.expire(now):
            self.on_view_changed()
        for request in list(self._requests.values()):
            resource_request = request.resource_request
            if resource_request is None or resource_request not in self._dispatch:
                continue
            if now - request.arrived >= TELL_AFTER_S and request.told == "":
                why = why_for_ever(request, self._view, self._bundles, self._wall())
                self._tell(request, why)
            if not self._lasts(request):
                self._reconsider(request)
            elif self._may_rotate(request, now):
                self._rotate(request)
            elif request.wanted.near and now - request.arrived >= NEAR_WITHIN_S:
                request.goes_anywhere = True
                self._reconsider(request)

    def deadline(self) -> float | None:
        """When `on_time` must be called; None: not before something happens."""
        now = self._now()
        times = [*self._orphans.deadlines(), *self._last_starts.deadlines()]
        debits = self._view.deadline()
        if debits is not None:
            times.append(debits)
        for request in self._requests.values():
            if request.resource_request is None:
                continue
            patience = (TELL_AFTER_S, ROTATE_AFTER_S, NEAR_WITHIN_S)
            times += [request.arrived + x for x in patience]
            times.append(self._last_starts.last(request.wanted.strategy.seconds))
        return min((x for x in times if x > now), default=None)

    # -- queries --------------------------------------------------------------------------------
    def new_number(self) -> int:
        """A lease number never used before on this node."""
        self._lease_number += 1
        return self._lease_number

    def waiting(self) -> int:
        """The number of requests waiting for resources."""
        return sum(1 for x in self._requests.values() if x.resource_request is not None)

    def active(self) -> int:
        """The number of leases."""
        return len(self._leases)

    # -- placement ------------------------------------------------------------------------------
    def _place(self, request: PendingLease) -> None:
        """A request has arrived: serve it, redirect it, queue it, or refuse it."""
        if request.wanted.strategy.kind == "group":
            self._place_in_group(request)
            return
        me = self._view.me
        room = not self.is_draining and self._pool.fits(request.resources)
        serves = not self.is_draining and self._lasts(request)
        if request.hops and serves and self._pool.could_ever(request.resources):
            # It was sent here deliberately: do not redirect it as long as this node can serve it
            # at all.
            self._wait_here(request)
            return
        choice = self._choose(request, room)
        if choice.node == 0:
            self._refuse(request, leases.UNSCHEDULABLE, choice.text)
        elif choice.node != me:
            self._redirect(request, choice.node)
        elif self.is_draining:
            self._refuse(request, leases.OUT_OF_SERVICE, "The node is leaving.")
        else:
            request.is_stuck = choice.stuck
            self._wait_here(request)

    def _reconsider(self, request: PendingLease) -> None:
        """The view has changed: redirect a waiting request to a node with room."""
        if request.wanted.strategy.kind == "group":
            self._place_in_group(request)
            return
        choice = self._choose(request, room=False)
        if choice.node == 0:
            self._refuse(request, leases.UNSCHEDULABLE, choice.text)
        elif choice.node != self._view.me and (choice.now or self._cannot_stay(request)):
            self._redirect(request, choice.node)
        elif self.is_draining:
            self._refuse(request, leases.OUT_OF_SERVICE, "The node is leaving.")

    def _cannot_stay(self, request: PendingLease) -> bool:
        can = not request.is_stuck and self._pool.could_ever(request.resources)
        return self.is_draining or not can or not self._lasts(request)

    def _lasts(self, request: PendingLease) -> bool:
        """Whether this node has as much time left as it wants."""
        seconds = request.wanted.strategy.seconds
        return not seconds or self._last_starts.may_start(seconds)

    def _choose(self, request: PendingLease, room: bool) -> scheduling.Choice:
        wanted = request.wanted
        kind = wanted.strategy.kind
        if request.goes_anywhere and wanted.near:
            wanted = msgspec.structs.replace(wanted, near=0)
        may = room
        if wanted.near == self._view.me and not room and not self.is_draining:
            lack = shortage(self._pool.free, request.resources)
            may = not shortage(self._dispatch.revocable_in(self._pool), lack)
        waiting = self.waiting() if kind == "spread" else 0
        here = scheduling.Here(room, may, waiting, not self.is_draining, self._wall())
        choice = scheduling.choose(wanted, self._view, here, self._turns[kind])
        self._turns[kind] += choice.now
        return choice

    def _place_in_group(self, request: PendingLease) -> None:
        state = self._group_of(request)
        choice = group_choice.choose(request, state, self._view.me, self._pools(request))
        if choice.refusal:
            self._refuse(request, choice.refusal, choice.text)
        else:
            self._wait_at(request, choice.node)

    def _group_of(self, request: PendingLease) -> actors.GroupIs | None:
        """What is known of its group; where any bundle will do, nodes that last as long as it."""
        strategy = request.wanted.strategy
        state = self._bundles.state_of(strategy.group)
        if state is None or not strategy.seconds or strategy.bundle >= 0:
            return state
        return group_choice.lasting(state, self._view, strategy.seconds, self._wall())

    def _may_rotate(self, request: PendingLease, now: float) -> bool:
        strategy = request.wanted.strategy
        return (
            strategy.kind == "group"
            and strategy.bundle < 0
            and now - request.arrived >= ROTATE_AFTER_S
        )

    def _rotate(self, request: PendingLease) -> None:
        """Try the next node that has bundles of the group, or wait here."""
        state = self._group_of(request)
        self._wait_at(request, group_choice.next_node(request.resources, state, self._view.me))

    def _wait_at(self, request: PendingLease, node: NodeNumber) -> None:
        if node == self._view.me:
            self._wait_here(request)
        else:
            self._redirect(request, node)

    # -- outcomes -------------------------------------------------------------------------------
    def _wait_here(self, request: PendingLease) -> None:
        if request.resource_request is not None:
            return
        request.resource_request = ResourceRequest(
            request.requester,
            request.resources,
            lambda: self._pools(request),
            lambda allocation: self._granted(request, allocation),
            request.arrived,
        )
        self._dispatch.add(request.resource_request)
        if any(pool.fits(request.resources) for pool in self._pools(request)):
            self._dispatch.run()
        if request.resource_request is not None:
            self._tell(request, "")

    def _pools(self, request: PendingLease) -> list[Pool]:
        strategy = request.wanted.strategy
        if not self._lasts(request):
            return []
        if strategy.kind == "group":
            return self._bundles.pools(strategy.group, strategy.bundle, request.resources)
        return [] if self.is_draining or request.is_stuck else [self._pool]

    def _granted(self, request: PendingLease, allocation: Allocation) -> None:
        """The resources are available: now get a worker."""
        request.resource_request = None
        request.allocation = allocation
        self._dispatch.count(request.requester, +1)
        key = (request.wanted.job, request.wanted.environment)
        request.waiter = Waiter(
            key,
            lambda worker: self._start(request, worker),
            lambda text: self._refuse(request, leases.ENVIRONMENT, text),
            gpus=bool(allocation.devices()),
            crowded=lambda text: self._tell(request, text),
        )
        self._workers.acquire(request.waiter)
        self._workers.start_ahead(key, min(request.backlog - 1, times_more(allocation)))

    def _start(self, request: PendingLease, worker: WorkerProcess) -> None:
        """A worker is available: the lease begins."""
        self._requests.pop((request.client, request.number), None)
        allocation = request.allocation
        assert allocation is not None
        number = worker.lease = self.new_number()
        revocable = Revocable(
            request.requester,
            allocation,
            self._now(),
            lambda: self._send(worker.address, leases.Revoke(number)),
        )
        self._leases[number] = GrantedLease(number, request.client, worker, revocable)
        self._last_starts.add(revocable, request.wanted.strategy.seconds)
        self._dispatch.add_revocable(revocable)
        strategy = request.wanted.strategy
        grant = Grant(
            number,
            request.wanted.job,
            request.resources,
            allocation.devices(),
            strategy.group,
            self._bundles.index_of(strategy.group, allocation.pool) if strategy.group else -1,
            request.wanted.environment,
        )
        message = leases.LeaseGranted(request.number, worker.address, grant)
        self._send(request.client, message)

    def _end_by_worker(self, lease: GrantedLease, started: bytes) -> None:
        """A worker ends its lease, and has told its submitter."""
        if not lease.returned:
            # What it sent its submitter by another path may be lost if it dies now.
            before = self._taken_back.setdefault(lease.worker.address, {})
            before[lease.client] = (lease.number, started)
        self._end(lease)

    def _end(self, lease: GrantedLease) -> None:
        """The lease is over: its resources and its worker are free."""
        del self._leases[lease.number]
        revocable = lease.revocable
        revocable.allocation.pool.give_back(revocable.allocation)
        self._dispatch.count(revocable.requester, -1)
        self._dispatch.remove_revocable(revocable)
        self._last_starts.remove(revocable)
        self._workers.release(lease.worker)

    def _redirect(self, request: PendingLease, node: NodeNumber) -> None:
        self._drop(request)
        self._view.debit(node, request.resources, self._now())
        self._send(request.client, leases.LeaseRedirect(request.number, node))

    def _refuse(self, request: PendingLease, kind: int, text: str) -> None:
        self._drop(request)
        self._send(request.client, leases.LeaseRefused(request.number, kind, text))

    def _tell(self, request: PendingLease, text: str) -> None:
        if request.told != text:
            request.told = text
            self._send(request.client, leases.LeaseQueued(request.number, text))

    def _drop(self, request: PendingLease) -> None:
        """Drop a request, and release what it already had."""
        self._requests.pop((request.client, request.number), None)
        if request.resource_request is not None:
            self._dispatch.cancel(request.resource_request)
            request.resource_request = None
        if request.waiter is not None:
            request.waiter.is_cancelled = True
        if request.allocation is not None:
            request.allocation.pool.give_back(request.allocation)
            request.allocation = None
            self._dispatch.count(request.requester, -1)
            self._dispatch.is_dirty = True
