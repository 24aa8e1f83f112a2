"""Placement groups that this process waits for.

Part of every driver and worker (`client`), used by `api.groups.placement_group`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rayhpc.runtime.owner.entries import ERROR, INLINE, Entry
from rayhpc.runtime.process.core import Core
from rayhpc.runtime.process.loop import Loop
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.address import HEAD, ObjectId
from rayhpc.wire.messages import actors

_SETTLED = (actors.GROUP_CREATED, actors.GROUP_REMOVED)


class WatchedGroups:
    """The groups that are watched.

    Args:
        core: this process's tables.
        loop: what serves them.
        objects: knows how user code waits.
    """

    def __init__(self, core: Core, loop: Loop, objects: Objects) -> None:
        self._core = core
        self._loop = loop
        self._objects = objects

    def ready(
        self, group: ObjectId, value: bytes, error_of: Callable[[actors.GroupIs], bytes]
    ) -> ObjectRef[Any]:
        """A reference that becomes ready once all bundles are reserved.

        Args:
            group: the group's id.
            value: its value then, in inline form.
            error_of: the pickled error, if the group is removed first.
        """
        core = self._core
        oid = core.new_id()
        core.ownership.add(oid, Entry())
        ref: ObjectRef[Any] = ObjectRef(oid, True)

        def settle(state: actors.GroupIs) -> None:
            if state.state == actors.GROUP_CREATED:
                core.ownership.resolve(oid, INLINE, value)
            else:
                core.results.failures += 1
                core.ownership.resolve(oid, ERROR, error_of(state))

        with self._loop.lead():
            self._when_settled(group, settle)
        return ref

    def wait(self, group: ObjectId, timeout: float | None) -> bool:
        """Wait until all bundles are reserved.

        Args:
            group: the group's id.
            timeout: seconds; None: no limit.

        Returns:
            False: the timeout expired, or the group was removed.
        """
        found: list[actors.GroupIs] = []
        with self._loop.lead():
            self._when_settled(group, found.append)
        self._objects.wait(lambda: bool(found), timeout)
        return bool(found) and found[0].state == actors.GROUP_CREATED

    def _when_settled(self, group: ObjectId, callback: Callable[[actors.GroupIs], object]) -> None:
        """Call `callback` with the group's state once it is CREATED or REMOVED (leading thread)."""
        all_watchers = self._core.group_watchers
        watchers = all_watchers.setdefault(group, [])

        def on_state(state: actors.GroupIs) -> None:
            if state.state not in _SETTLED:
                return
            left = [x for x in all_watchers.get(group, ()) if x is not on_state]
            if left:
                all_watchers[group] = left
            else:
                all_watchers.pop(group, None)
            callback(state)

        watchers.append(on_state)
        # Watched each time: the answer is the group's state now, and then each change.
        self._loop.transport.send(HEAD, actors.WatchGroup(group))
