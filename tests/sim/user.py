"""What user code does in a simulated process: `.remote()`, `put`, `get`, actors, groups.

A part of `process.SimProcess`.  Does the same to the process's tables as `rayhpc.api`; what waits
is called in a simulated thread.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from rayhpc.runtime.owner.actor_creation import ActorCreation
from rayhpc.runtime.owner.definitions import Definition
from rayhpc.runtime.owner.entries import Entry
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.process.context import running
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.process.process import Process
from rayhpc.runtime.values import arguments, serialization
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.address import HEAD, owner_of
from rayhpc.wire.messages import actors, tasks
from rayhpc.wire.messages.common import UNIT, SchedulingClass, Strategy

from .threads import SimThread

if TYPE_CHECKING:
    from .world import World

ONE_CPU = {"CPU": UNIT}
DEFAULT = Strategy()


class Handle:
    """An actor's handle, as `rayhpc.api.ActorHandle`: its id, and the lifeline it holds."""

    def __init__(
        self,
        actor: bytes,
        lifeline: ObjectRef[Any] | None,
        retries: int = 0,
        overtakes: bool = False,
    ) -> None:
        self.actor = actor
        self.lifeline = lifeline
        self.retries = retries
        self.overtakes = overtakes

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Handle, (self.actor, self.lifeline, self.retries, self.overtakes)


def _running_tid() -> bytes:
    context = running.get()
    return b"" if context is None else context.tid


class _Definitions(dict[str, Definition]):
    """A program's name is its pickle, and what workers know it by."""

    def __missing__(self, name: str) -> Definition:
        made = self[name] = Definition(name.encode(), name.encode(), [])
        return made


DEFINITIONS = _Definitions()


class Ended(Exception):
    """The actor's name is taken."""


class UserSide(Process):
    """The user's side of a process."""

    world: World

    # -- tasks ------------------------------------------------------------------------------------
    def submit(
        self,
        name: str,
        *args: Any,
        retries: int = 3,
        returns: int = 1,
        resources: dict[str, int] | None = None,
        strategy: Strategy = DEFAULT,
        window: int = 0,
    ) -> Any:
        """`f.remote(*args)`, as `api.remote_function` does it."""
        definition = DEFINITIONS[name]
        pending = Pending(self.core.new_id(), b"", definition, returns, retries, name)
        wanted = SchedulingClass(
            ONE_CPU if resources is None else resources, strategy, job=self.core.facts.job
        )
        pending.queue = self.core.submitter.queue_for(wanted)
        self._set_arguments(pending, args)
        pending.parent = _running_tid()
        if pending.parent or window:
            pending.more = tasks.TaskMore(name, pending.parent, window=window)
        found: Any = self._references_of(pending)
        self.core.submitter.inbox.append(pending)
        return found

    def _set_arguments(self, pending: Pending, args: tuple[Any, ...]) -> None:
        payload, deps = arguments.pack(args, {})
        packed = serialization.serialize(payload)
        pending.args = serialization.to_inline(packed)
        pending.deps = deps or None
        pending.keep = packed.refs + deps or None
        pending.submitted = time.time()

    def _references_of(self, pending: Pending) -> Any:
        table = self.core.ownership.table
        if pending.returns in tasks.GENERATORS:
            window = pending.more.window if pending.more is not None else 0
            pending.stream = self.core.streams.open(pending.tid, window, pending)
        if pending.returns > 1:
            for oid in pending.result_ids():
                table[oid] = Entry(pending)
            return [ObjectRef(oid, True) for oid in pending.result_ids()]
        table[pending.tid] = Entry(pending)
        return ObjectRef(pending.tid, True)

    def cancel(self, ref: ObjectRef[Any], force: bool = False, recursive: bool = True) -> None:
        """`api.cancel`."""
        oid = ref.binary()
        self.core.advance()
        if self.core.ownership.is_mine(oid):
            self.core.cancel_now(oid, force, recursive)
        else:
            self.loop.send(owner_of(oid), tasks.CancelOwned(oid, force, recursive))

    # -- actors -----------------------------------------------------------------------------------
    def actor(
        self,
        kind: str,
        *args: Any,
        name: str = "",
        max_restarts: int = 0,
        max_task_retries: int = 0,
        placing: dict[str, int] | None = None,
        holding: dict[str, int] | None = None,
        strategy: Strategy = DEFAULT,
        detached: bool = False,
        concurrency: int = 1,
        groups: dict[str, int] | None = None,
        is_async: bool = False,
    ) -> Handle:
        """`Actor.remote(*args)`: the real creation, but for the class."""
        creation, handle = self._creation(
            kind, args, name, max_restarts, max_task_retries, placing, holding, strategy, detached
        )
        creation.spec = msgspec.structs.replace(
            creation.spec, max_concurrency=concurrency, groups=groups or {}, is_async=is_async
        )
        handle.overtakes = is_async or concurrency > 1 or bool(groups)
        creation.register_when_ready()
        return handle

    def named(self, kind: str, *args: Any, name: str, exists: bool = True) -> Handle:
        """`Actor.options(name=…, get_if_exists=…).remote(*args)`, in a thread."""
        creation, handle = self._creation(kind, args, name, 0, 0, None, None, DEFAULT, False)
        token = self.core.new_token()
        message = creation.request(token, exists)
        answer = self.client.questions.exchange(HEAD, message, token)
        if answer.error or answer.existing is not None:
            creation.forget()
        if answer.error:
            raise Ended(answer.error)
        if answer.existing is not None:
            return Handle(answer.existing.actor, None)
        creation.watch()
        return handle

    def _creation(
        self,
        kind: str,
        args: tuple[Any, ...],
        name: str,
        max_restarts: int,
        max_task_retries: int,
        placing: dict[str, int] | None,
        holding: dict[str, int] | None,
        strategy: Strategy,
        detached: bool,
    ) -> tuple[ActorCreation, Handle]:
        pending = Pending(self.core.new_actor_id(), b"", None, 1, 0, kind)
        self._set_arguments(pending, args)
        spec = actors.ActorSpec(
            actor=pending.tid,
            owner=self.core.me,
            job=self.core.facts.job,
            class_name=kind,
            definition_id=b"",
            definition=kind.encode(),
            methods=b"",
            args=b"",
            deps=[],
            placing=SchedulingClass(
                ONE_CPU if placing is None else placing, strategy, job=self.core.facts.job
            ),
            holding={} if holding is None else holding,
            name=name,
            namespace="sim",
            detached=detached,
            max_restarts=max_restarts,
            max_task_retries=max_task_retries,
        )
        core = self.core
        creation = ActorCreation(core.ownership, core.callers, core.send_now, spec, pending)
        return creation, Handle(spec.actor, creation.lifeline, max_task_retries)

    def call(
        self,
        handle: Handle,
        method: str,
        *args: Any,
        retries: int | None = None,
        returns: int = 1,
        group: str = "",
    ) -> Any:
        """`handle.method.remote(*args)`, as `api.actor_method` does it."""
        retries = handle.retries if retries is None else retries
        pending = Pending(self.core.new_id(), b"", None, returns, retries, method)
        pending.method = method
        pending.group = group
        pending.target = client = self.core.callers.client_of(handle.actor)
        client.overtakes = handle.overtakes
        self._set_arguments(pending, args)
        if handle.lifeline is not None:
            pending.keep = [handle.lifeline, *(pending.keep or ())]
        pending.parent = _running_tid()
        found = self._references_of(pending)
        self.core.callers.inbox.append(pending)
        return found

    def kill(self, handle: Handle, no_restart: bool = True) -> None:
        """`api.kill`."""
        self.core.callers.kill(handle.actor, no_restart)

    # -- placement groups -------------------------------------------------------------------------
    def group(self, bundles: list[dict[str, int]], strategy: str = "PACK") -> bytes:
        """`api.placement_group`; the group's state comes into `groups`."""
        group = self.core.new_group_id()
        made = actors.CreateGroup(
            group, bundles, strategy, creator=self.core.me, job=self.core.facts.job
        )
        self.loop.send(HEAD, made)
        self.core.group_watchers[group] = [lambda m: self.groups.__setitem__(group, m)]
        self.loop.send(HEAD, actors.WatchGroup(group))
        return group

    def remove_group(self, group: bytes) -> None:
        """`api.remove_placement_group`."""
        self.core.advance()
        self.loop.send(HEAD, actors.RemoveGroup(group))

    # -- objects ----------------------------------------------------------------------------------
    def put(self, value: Any) -> ObjectRef[Any]:
        """`api.put`, in a thread."""
        with inside:
            return self.client.put(serialization.serialize(value))

    def values(self, refs: list[ObjectRef[Any]]) -> list[Any]:
        """`api.get`, in a thread; an interrupt is raised when it is left."""
        thread = SimThread.current()
        try:
            with inside:
                return self.client.get(refs, None)
        finally:
            # What the wait ended with instead is nobody's business.
            thread.raise_if_interrupted()
