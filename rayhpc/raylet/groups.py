"""Placement groups: the head's orders to this node to reserve and release bundles.

Used by `node`.  The bundles themselves are in `bundles`; this handles what their arrival and
departure mean for leases and actors.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rayhpc.raylet.actors import HostedActors
from rayhpc.raylet.bundles import ReservedBundles
from rayhpc.raylet.dispatch import Dispatch, ResourceRequest
from rayhpc.raylet.leases import Leases
from rayhpc.raylet.resources import Allocation, Pool
from rayhpc.wire.address import HEAD, Address
from rayhpc.wire.feasibility import sum_of
from rayhpc.wire.messages import actors

# Bundles for which there is no room within this time are refused; the head then looks elsewhere.
ROOM_WITHIN_S = 0.5


class GroupOrders:
    """Carries out the head's orders about placement groups.

    Args:
        pool: the node's own resources.
        bundles: those reserved here.
        dispatch: the queue for resources.
        leases, actors: what may run in bundles.
        send: sends a message.
        now: the time in seconds, monotonic.
    """

    def __init__(
        self,
        pool: Pool,
        bundles: ReservedBundles,
        dispatch: Dispatch,
        leases: Leases,
        actors: HostedActors,
        send: Callable[[Address, msgspec.Struct], None],
        now: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._bundles = bundles
        self._dispatch = dispatch
        self._leases = leases
        self._actors = actors
        self._send = send
        self._now = now
        self.is_draining = False

    def on_prepare(self, message: actors.PrepareBundles) -> None:
        """The head wants bundles reserved: at once, or as soon as leases have been revoked."""
        group, bundles = message.group, message.bundles

        def answer(ok: bool) -> None:
            self._send(HEAD, actors.BundlesPrepared(group, message.attempt, ok))

        def granted(allocation: Allocation) -> None:
            self._pool.give_back(allocation)
            answer(self._bundles.set_aside(group, bundles))

        if self.is_draining:
            answer(False)
            return
        now = self._now()
        request = ResourceRequest(
            ("bundles", group),
            sum_of(bundles.values()),
            lambda: [self._pool],
            granted,
            now,
            now + ROOM_WITHIN_S,
            lambda: answer(False),
        )
        self._dispatch.add(request)

    def on_release(self, message: actors.ReleaseBundles) -> None:
        """The head releases bundles; what runs in those of a removed group ends."""
        if message.removed:
            self._leases.on_group_removed(message.group)
            self._actors.on_group_removed(message.group)
        self._bundles.give_back(message.group, message.bundles)
        self._dispatch.is_dirty = True

    def on_group_is(self, message: actors.GroupIs) -> None:
        """The head reports where a group's bundles are."""
        self._bundles.on_group_is(message)
        if message.state == actors.GROUP_REMOVED:
            self._leases.on_group_removed(message.group)
        self._leases.on_view_changed()
        self._dispatch.is_dirty = True
