"""A program carried out by rayhpc: each step as a user would write it.

Used by `run` in the driver, and in tasks by the steps that nest.  Reads no expected answer.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import rayhpc as ray
from tests.programs import steps as s
from tests.programs.values import combine, digest, make


class Boom(Exception):
    """What a step raises that is meant to fail."""


def resolve(value: Any) -> Any:
    """The value with the references inside it replaced by what they refer to."""
    if isinstance(value, ray.ObjectRef):
        return resolve(ray.get(value))
    if isinstance(value, list):
        return [resolve(x) for x in value]
    if isinstance(value, dict):
        return {key: resolve(x) for key, x in value.items()}
    return value


def _number(number: int, values: tuple[Any, ...]) -> int:
    return combine([number, *(digest(resolve(_unwrap(x))) for x in values)])


def _unwrap(value: Any) -> Any:
    """An argument as `_wrap` found it."""
    if isinstance(value, dict) and "wrapped" in value:
        return value["wrapped"]
    if isinstance(value, tuple) and len(value) == 1:
        return value[0]
    return value


def _wrap(ref: Any, how: str) -> Any:
    return {"list": (ref,), "dict": {"wrapped": ref}}.get(how, ref)


def _crash_once(marker: str) -> None:
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return
    os._exit(1)


def _produce(step: s.Task, marker: str, values: tuple[Any, ...]) -> Any:
    if step.crashes:
        _crash_once(marker)
    number = _number(step.number, values)
    if step.raises:
        raise Boom(step.raises)
    if len(step.outs) == 1:
        return make(step.shape, number)
    return [make(step.shape, number + i) for i in range(len(step.outs))]


@ray.remote(max_retries=5)
def produce(step: s.Task, marker: str, *values: Any) -> Any:
    """A `Task` without a closure."""
    return _produce(step, marker, values)


@ray.remote(max_retries=5)
def nested(step: s.Nested, folder: str, refs: list[Any]) -> Any:
    """A `Nested`."""
    inner = OnCluster(folder)
    inner.slots = dict(zip(step.given, refs, strict=True))
    inner.run(step.steps)
    found = [inner.slots[x] for x in step.returned]
    return [resolve(x) for x in ray.get(found)] if step.by_value else found


@ray.remote(num_returns="streaming", max_retries=5)
def stream(step: s.Stream, *values: Any) -> Any:
    """A `Stream`."""
    number = _number(step.number, values)
    for index in range(step.items):
        yield make(step.shape, number + index)
    if step.raises:
        raise Boom(step.raises)


@ray.remote(num_cpus=0)
class Plain:
    """An actor whose answers depend on all the calls before."""

    def __init__(self, number: int) -> None:
        self.state = number
        self.kept: list[Any] = []

    def call(self, step: s.Call, *values: Any) -> Any:
        number = _number(step.number, values)
        if step.raises:
            raise Boom(step.raises)
        self.state = combine([self.state, number])
        return make(step.shape, self.state)

    def keep(self, values: list[Any]) -> None:
        self.kept = values

    def read(self) -> int:
        return _number(0, tuple(self.kept))


class _Adding:
    def __init__(self) -> None:
        self.sum = 0
        self.lock = threading.Lock()

    def add(self, step: s.Call, values: tuple[Any, ...]) -> Any:
        number = _number(step.number, values)
        if step.raises:
            raise Boom(step.raises)
        with self.lock:
            self.sum += number
        return make(step.shape, number)


@ray.remote(num_cpus=0, max_concurrency=4)
class Threaded(_Adding):
    """An actor with threads."""

    def call(self, step: s.Call, *values: Any) -> Any:
        return self.add(step, values)

    def total(self) -> int:
        return self.sum


@ray.remote(num_cpus=0, max_concurrency=20)
class Async(_Adding):
    """An actor with an event loop."""

    async def call(self, step: s.Call, *values: Any) -> Any:
        found = [await self._read(_unwrap(x)) for x in values]
        await asyncio.sleep(0)
        return self.add(step, tuple(found))

    async def _read(self, value: Any) -> Any:
        while isinstance(value, ray.ObjectRef):
            value = await value
        if isinstance(value, list):
            return [await self._read(x) for x in value]
        return value

    async def total(self) -> int:
        return self.sum


@ray.remote
def call_through(actor: Any, step: s.Call, values: list[Any]) -> Any:
    """A `Call` made by a task that was handed the actor."""
    return ray.get(actor.call.remote(step, *values))


@ray.remote(max_retries=0)
def wait_long(children: int) -> None:
    """A task that is meant to be cancelled, perhaps with children of the same kind."""
    refs = [wait_long.options(num_cpus=0).remote(0) for _ in range(children)]
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if refs:
            ray.wait(refs, timeout=1)
        time.sleep(0.01)


class OnCluster:
    """The state of one program: references by slot, handles by actor.

    Args:
        folder: a directory of this program alone, for the marks of what has crashed once.
    """

    KINDS = {"plain": Plain, "threads": Threaded, "async": Async}

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.slots: dict[int, Any] = {}
        self.actors: dict[int, Any] = {}
        # A handle got by name does not keep its actor alive.
        self.first_handles: list[Any] = []

    def run(self, steps: tuple[s.Step, ...]) -> None:
        """Carry out steps in order."""
        for step in steps:
            getattr(self, f"_{type(step).__name__.lower()}")(step)

    def _values(self, inputs: tuple[s.Input, ...]) -> list[Any]:
        return [_wrap(self.slots[x.slot], x.wrapped) for x in inputs]

    def _put(self, step: s.Put) -> None:
        value = [self.slots[x.slot] for x in step.inputs] or make(step.shape, step.number)
        self.slots[step.out] = ray.put(value)

    def _task(self, step: s.Task) -> None:
        options = {"num_returns": len(step.outs), "num_cpus": step.num_cpus}
        marker = str(Path(self.folder, f"{step.outs[0]}-{step.number}"))
        values = self._values(step.inputs)
        if step.captured:
            captured = tuple((self.slots[x],) for x in step.captured)

            @ray.remote(max_retries=5)
            def closure(*values: Any) -> Any:
                return _produce(step, marker, (*values, *captured))

            made = closure.options(**options).remote(*values)
        else:
            made = produce.options(**options).remote(step, marker, *values)
        self.slots.update(zip(step.outs, made if len(step.outs) > 1 else [made], strict=True))

    def _nested(self, step: s.Nested) -> None:
        given = [self.slots[x] for x in step.given]
        self.slots[step.out] = nested.remote(step, self.folder, given)

    def _stream(self, step: s.Stream) -> None:
        items = stream.remote(step, *self._values(step.inputs))
        last = None
        for out in step.outs:
            # An error ends the stream: what would follow is the same error.
            last = self.slots[out] = next(items, last)

    def _newactor(self, step: s.NewActor) -> None:
        kind = self.KINDS[step.kind]
        named = kind.options(name=step.name) if step.name else kind
        handle = named.remote(*([step.number] if step.kind == "plain" else []))
        self.actors[step.actor] = handle
        if step.name:
            self.first_handles.append(handle)
            self.actors[step.actor] = ray.get_actor(step.name)

    def _call(self, step: s.Call) -> None:
        actor, values = self.actors[step.actor], self._values(step.inputs)
        if step.through:
            # In a list references stay references: the actor is handed them as they are.
            self.slots[step.out] = call_through.remote(actor, step, values)
        else:
            self.slots[step.out] = actor.call.remote(step, *values)

    def _keep(self, step: s.Keep) -> None:
        actor = self.actors[step.actor]
        actor.keep.remote([(self.slots[x.slot],) for x in step.inputs])
        self.slots[step.out] = actor.read.remote()

    def _kill(self, step: s.Kill) -> None:
        actor = self.actors[step.actor]
        ray.wait([actor.read.remote()])  # what it has kept may have failed
        ray.kill(actor)
        self.slots[step.out] = actor.read.remote()

    def _cancel(self, step: s.Cancel) -> None:
        self.slots[step.out] = ref = wait_long.remote(step.children)
        if step.number % 2:
            ray.wait([ref], timeout=0.01)
        ray.cancel(ref)

    def _threads(self, step: s.Threads) -> None:
        errors: list[BaseException] = []

        def block(steps: tuple[s.Step, ...]) -> None:
            try:
                self.run(steps)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=block, args=(x,)) for x in step.blocks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _gather(self, step: s.Gather) -> None:
        async def gather() -> list[Any]:
            found = await asyncio.gather(
                *(self._awaited(x) for x in step.inputs), return_exceptions=True
            )
            return list(found)

        found = asyncio.run(gather())
        failed = any(isinstance(x, BaseException) for x in found)
        # A container of the failing references fails when it is read, as in `plain`.
        refs = [self.slots[x] for x in step.inputs]
        self.slots[step.out] = ray.put(refs if failed else found)

    async def _awaited(self, slot: int) -> Any:
        value = await self.slots[slot]
        return await asyncio.to_thread(resolve, value)

    def _wait(self, step: s.Wait) -> None:
        # Items after a generator's error share its reference.
        refs = list(dict.fromkeys(self.slots[x] for x in step.slots))
        count = min(step.count, len(refs))
        ready, rest = ray.wait(refs, num_returns=count, fetch_local=count % 2 == 0)
        if len(ready) != count or len(rest) != len(refs) - count:
            raise AssertionError(f"wait gave {len(ready)} of {count}")

    def _forget(self, step: s.Forget) -> None:
        del self.slots[step.slot]
