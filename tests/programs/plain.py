"""The answer of a program, computed in this process without a cluster.

Used by `run`.  A slot holds a value or a `Failure`; what a failure touches fails as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.programs import steps as s
from tests.programs.values import combine, digest, make

CANCELLED = "cancelled"
ACTOR_DIED = "actor died"


@dataclass(frozen=True)
class Failure:
    """What `get` raises: an error with one of these messages in it."""

    causes: frozenset[str]


class _Failed(Exception):
    def __init__(self, causes: frozenset[str]) -> None:
        self.failure = Failure(causes)


class Plain:
    """The state of one program: its slots and actors."""

    def __init__(self) -> None:
        self.slots: dict[int, Any] = {}
        self.states: dict[int, int] = {}
        self.totals: dict[int, int] = {}

    def run(self, steps: tuple[s.Step, ...]) -> None:
        """Carry out steps in order."""
        for step in steps:
            getattr(self, f"_{type(step).__name__.lower()}")(step)

    def _put(self, step: s.Put) -> None:
        if step.inputs:
            # A container of references: the failure of one is met by whoever reads it.
            self.slots[step.out] = self._all([x.slot for x in step.inputs])
        else:
            self.slots[step.out] = make(step.shape, step.number)

    def _task(self, step: s.Task) -> None:
        value = self._guard(lambda: self._task_value(step))
        for index, out in enumerate(step.outs):
            whole = isinstance(value, Failure) or len(step.outs) == 1
            self.slots[out] = value if whole else value[index]

    def _task_value(self, step: s.Task) -> Any:
        captured = [s.Input(x, "list") for x in step.captured]
        number = self._number(step.number, (*step.inputs, *captured))
        if step.raises:
            raise _Failed(frozenset([step.raises]))
        if len(step.outs) == 1:
            return make(step.shape, number)
        return [make(step.shape, number + i) for i in range(len(step.outs))]

    def _nested(self, step: s.Nested) -> None:
        inner = Plain()
        inner.slots = {slot: self.slots[slot] for slot in step.given}
        inner.run(step.steps)
        self.slots[step.out] = inner._all(list(step.returned))

    def _stream(self, step: s.Stream) -> None:
        number = self._guard(lambda: self._number(step.number, step.inputs))
        for index, out in enumerate(step.outs):
            if isinstance(number, Failure):
                self.slots[out] = number
            elif index == step.items:
                self.slots[out] = Failure(frozenset([step.raises]))
            else:
                self.slots[out] = make(step.shape, number + index)

    def _newactor(self, step: s.NewActor) -> None:
        if step.kind == "plain":
            self.states[step.actor] = step.number
        self.totals[step.actor] = 0

    def _call(self, step: s.Call) -> None:
        def value() -> Any:
            number = self._number(step.number, step.inputs)
            if step.raises:
                raise _Failed(frozenset([step.raises]))
            return make(step.shape, self._advance(step.actor, number))

        self.slots[step.out] = self._guard(value)

    def _advance(self, actor: int, number: int) -> int:
        self.totals[actor] += number
        if actor in self.states:
            self.states[actor] = combine([self.states[actor], number])
        return self.states.get(actor, number)

    def _keep(self, step: s.Keep) -> None:
        self.slots[step.out] = self._guard(lambda: self._number(0, step.inputs))

    def _kill(self, step: s.Kill) -> None:
        self.slots[step.out] = Failure(frozenset([ACTOR_DIED]))

    def _cancel(self, step: s.Cancel) -> None:
        self.slots[step.out] = Failure(frozenset([CANCELLED]))

    def _threads(self, step: s.Threads) -> None:
        for block in step.blocks:
            self.run(block)

    def _gather(self, step: s.Gather) -> None:
        self.slots[step.out] = self._all(list(step.inputs))

    def _wait(self, step: s.Wait) -> None:
        pass

    def _forget(self, step: s.Forget) -> None:
        pass

    def _number(self, number: int, inputs: tuple[s.Input, ...]) -> int:
        """The digest of a step's inputs; every failure among them may be the one that is seen."""
        values = [self.slots[x.slot] for x in inputs]
        causes = [x.causes for x in values if isinstance(x, Failure)]
        if causes:
            raise _Failed(frozenset().union(*causes))
        return combine([number, *(digest(x) for x in values)])

    def _all(self, slots: list[int]) -> Any:
        """The values of several slots as a list."""
        values = [self.slots[x] for x in slots]
        causes = [x.causes for x in values if isinstance(x, Failure)]
        return Failure(frozenset().union(*causes)) if causes else values

    @staticmethod
    def _guard(compute: Any) -> Any:
        try:
            return compute()
        except _Failed as failed:
            return failed.failure
