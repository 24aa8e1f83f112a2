"""A node that takes no new work: until it is idle and leaves, or until it may take work again.

Used by `node`.  A node drains because it is told to end or to leave the cluster (it then ends by
itself), or because the cluster may soon do without it: then it stays, sends its idle workers away
and has its objects copied elsewhere, until whoever provides the machine takes it back.  Only here
is it decided whether a node is in use.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from rayhpc.raylet.node_parts import NodeParts
from rayhpc.raylet.workers import IDLE
from rayhpc.wire.messages.cluster import NodeUse

# Between two rounds of asking workers to end and others to copy objects.
_AGAIN_S = 0.5

logger = logging.getLogger(__name__)


class Draining:
    """Whether this node takes work, and what it is in use for.

    Args:
        raylet: the node's parts.
        now: the time in seconds, monotonic.

    Attributes:
        is_on: nothing new is placed here.
        leave_by: when it ends at the latest.
    """

    def __init__(self, raylet: NodeParts, now: Callable[[], float]) -> None:
        self.is_on = False
        self.leave_by = math.inf
        self._raylet, self._now = raylet, now
        self._leaving = ""
        self._stays = False
        self._prestart = raylet.workers.prestart
        self._again = -math.inf
        self._idle_since = now()

    def begin(self, reason: str, within: float | None = None, *, stays: bool = False) -> None:
        """Take no new work; unless it `stays`, end once nothing runs, or after `within` seconds."""
        if not self.is_on:
            logger.info("draining: %s", reason)
            self._set(True)
            self._raylet.leases.drain()
        if stays:
            self._stays = True
            self._raylet.workers.prestart = 0
            return
        self._leaving = reason
        self._raylet.workers.sigterms.are_for_all = True
        if within is not None:
            self.leave_by = min(self.leave_by, self._now() + within)

    def revoke(self) -> None:
        """Take work again, unless the node is about to end."""
        self._stays = False
        if self.is_on and not self._leaving:
            logger.info("no longer draining")
            self._set(False)
            self._raylet.workers.prestart = self._prestart
            self._raylet.leases.serve()

    def settle(self) -> str:
        """Go on; why the node ends now, or empty."""
        now = self._now()
        if self.is_busy():
            self._idle_since = now
        if self._stays and now >= self._again:
            self._again = now + _AGAIN_S
            self._clear_out()
        over = self._leaving and (self._nothing_runs() or now >= self.leave_by)
        return self._leaving if over else ""

    def deadline(self) -> float:
        """When `settle` must be called."""
        return min(self.leave_by, self._again if self._stays else math.inf)

    def is_busy(self) -> bool:
        """Whether anything runs here, waits here, or has reserved something."""
        raylet = self._raylet
        return not self._nothing_runs() or bool(raylet.leases.waiting() or len(raylet.bundles))

    def use(self) -> NodeUse:
        """What it is in use for."""
        idle = 0.0 if self.is_busy() else self._now() - self._idle_since
        return NodeUse(self._busy_in_words(), idle, self._kept() if self._stays else "")

    def _busy_in_words(self) -> str:
        raylet = self._raylet
        drivers = sum(each.role == "driver" for each in raylet.attached.values())
        counts = {
            "program": drivers,
            "lease": raylet.leases.active(),
            "waiting request": raylet.leases.waiting(),
            "actor": raylet.actors.count(),
            "placement group": len(raylet.bundles),
        }
        return _in_words(counts)

    def _nothing_runs(self) -> bool:
        raylet = self._raylet
        drivers = any(each.role == "driver" for each in raylet.attached.values())
        return not drivers and not raylet.leases.active() and not raylet.actors.count()

    def _clear_out(self) -> None:
        for worker in list(self._raylet.workers.by_address.values()):
            if worker.state == IDLE:
                self._raylet.workers.ask_to_end(worker)
        self._raylet.objects.move_away()

    def _kept(self) -> str:
        """What would be lost: objects without a copy elsewhere, workers that own objects."""
        objects, workers = self._raylet.objects.unmoved(), self._raylet.workers.count()
        return _in_words({"uncopied object": objects, "worker": workers})

    def _set(self, on: bool) -> None:
        raylet = self._raylet
        self.is_on = raylet.actors.is_draining = raylet.groups.is_draining = on


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {what}{'s' * (n != 1)}" for what, n in counts.items() if n)
