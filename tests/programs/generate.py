"""Makes programs from seeds.

Used by `run`.  The same seed gives the same program.  What it makes always ends, and has one
answer: only actors that add up are called from several places at once, errors have messages of
their own, and what is cancelled would take longer than a program may.
"""

from __future__ import annotations

import itertools
import random

from tests.programs import steps as s
from tests.programs.values import SHAPES


def program(seed: int) -> s.Program:
    """The program of a seed."""
    return _Maker(seed).program()


class _Maker:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.slots = itertools.count()
        self.live: list[int] = []
        self.plain: list[int] = []
        self.adding: list[int] = []
        self.answers: set[int] = set()  # of actors that add up
        self.depth = 0
        # Every program has a flavour, so that rare steps also come in numbers.
        self.weights = [self.random.choice((0, 1, 1, 4)) for _ in _KINDS]
        # What a process that crashes owns is lost, as it should be: not both in one program.
        self.without = self.random.choice(("crash", "nested"))

    def program(self) -> s.Program:
        steps = self.steps(self.random.randint(8, 45))
        return s.Program(self.seed, tuple(steps), tuple(self.live), tuple(self.adding))

    def steps(self, count: int) -> list[s.Step]:
        made: list[s.Step] = [s.Put(self.new(), self.shape(), self.number()) for _ in range(2)]
        while len(made) < count:
            kind = self.random.choices(_KINDS, [w + 0.01 for w in self.weights])[0]
            step = None if kind == self.without else getattr(self, kind)()
            if step is not None:
                made.append(step)
        return made

    # -- parts -----------------------------------------------------------------------------------
    def new(self) -> int:
        slot = next(self.slots)
        self.live.append(slot)
        return slot

    def number(self) -> int:
        return self.random.randrange(1 << 30)

    def shape(self) -> s.Shape:
        return self.random.choice(SHAPES)

    def some(self, most: int, least: int = 0) -> tuple[int, ...]:
        most = min(most, len(self.live))
        return tuple(self.random.sample(self.live, self.random.randint(min(least, most), most)))

    def inputs(self, most: int = 3, least: int = 0) -> tuple[s.Input, ...]:
        wrapped = ("", "", "list", "dict")
        return tuple(s.Input(x, self.random.choice(wrapped)) for x in self.some(most, least))

    def chance(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def message(self) -> str:
        return f"boom {self.seed} {self.number()}"

    # -- steps -----------------------------------------------------------------------------------
    def put(self) -> s.Step:
        inputs = self.inputs(3) if self.chance(3) else ()
        return s.Put(self.new(), self.shape(), self.number(), inputs)

    def task(self) -> s.Step:
        inputs = self.inputs()
        outs = tuple(self.new() for _ in range(self.random.choice((1, 1, 1, 2, 4))))
        return s.Task(
            outs,
            self.shape(),
            self.number(),
            inputs,
            num_cpus=self.random.choice((0, 0.5, 1, 1)),
            raises=self.message() if self.chance(12) else "",
        )

    def closure(self) -> s.Step:
        captured, inputs = self.some(2, 1), self.inputs(1)
        return s.Task((self.new(),), self.shape(), self.number(), inputs, captured)

    def crash(self) -> s.Step:
        inputs = self.inputs()
        return s.Task((self.new(),), self.shape(), self.number(), inputs, crashes=True)

    def many(self) -> s.Step:
        """Many tasks at once, as one block."""
        inputs = self.inputs(2)
        shape = self.random.choice((("int", 0), ("bytes", 90_000)))
        count = self.random.choice((20, 100))
        return s.Threads(
            (tuple(s.Task((self.new(),), shape, self.number(), inputs) for _ in range(count)),)
        )

    def nested(self) -> s.Step | None:
        if self.depth >= 2:
            return None
        given = self.some(3)
        outer = self.live, self.plain, self.adding
        self.live, self.plain, self.adding = list(given), [], []
        self.depth += 1
        steps = tuple(self.steps(self.random.randint(3, 10)))
        self.depth -= 1
        returned = self.some(3, 1)
        self.live, self.plain, self.adding = outer
        by_value = self.chance(2)
        return s.Nested(self.new(), given, steps, returned, by_value)

    def stream(self) -> s.Step:
        inputs, items = self.inputs(2), self.random.choice((1, 3, 10, 40))
        raises = self.message() if self.chance(4) else ""
        taken = items + bool(raises) if self.chance(2) else self.random.randint(0, items)
        outs = tuple(self.new() for _ in range(taken))
        return s.Stream(outs, self.shape(), self.number(), items, inputs, raises)

    def actor(self) -> s.Step:
        number = self.number()
        kind = self.random.choice(("plain", "threads", "async"))
        actor = next(self.slots)
        (self.plain if kind == "plain" else self.adding).append(actor)
        name = f"actor {self.seed} {actor}" if self.chance(3) and not self.depth else ""
        return s.NewActor(actor, kind, number, name)

    def call(self) -> s.Step:
        if not self.plain and not self.adding:
            return self.actor()
        actor = self.random.choice(self.plain + self.adding)
        through = actor in self.adding and self.chance(3)
        inputs = self.inputs(2)
        raises = self.message() if self.chance(12) else ""
        out = self.new()
        self.answers.add(out)
        return s.Call(out, actor, self.shape(), self.number(), inputs, through, raises)

    def calls(self) -> s.Step:
        """Many calls at once, from one thread, perhaps all handed the same reference.

        It is a task's of its own: nothing that might wait for a call behind these.
        """
        if not self.plain and not self.adding:
            return self.actor()
        actor, shape = self.random.choice(self.plain + self.adding), self.random.choice(SHAPES[:4])
        before: tuple[s.Step, ...] = ()
        inputs: tuple[s.Input, ...] = ()
        if actor in self.adding:
            source = self.new()
            before = (s.Task((source,), shape, self.number()),)
            inputs = (s.Input(source, self.random.choice(("list", "dict"))),)
        outs = [self.new() for _ in range(30)]
        self.answers.update(outs)
        calls = tuple(s.Call(x, actor, shape, self.number(), inputs) for x in outs)
        return s.Threads(((*before, *calls),))

    def keep(self) -> s.Step | None:
        if not self.plain:
            return None
        inputs = tuple(s.Input(x) for x in self.some(3, 1))
        return s.Keep(self.new(), self.random.choice(self.plain), inputs)

    def kill(self) -> s.Step | None:
        if not self.plain:
            return None
        actor = self.plain.pop(self.random.randrange(len(self.plain)))
        return s.Kill(actor, self.new())

    def cancel(self) -> s.Step:
        return s.Cancel(self.new(), self.random.choice((0, 0, 2)), self.number())

    def threads(self) -> s.Step | None:
        if self.depth:
            return None
        self.depth += 1
        outer = self.live, self.plain, self.adding
        before, blocks, made, adding = list(self.live), [], [], []
        for _ in range(self.random.randint(2, 6)):
            self.live, self.plain, self.adding = list(before), [], []
            blocks.append(tuple(self.steps(self.random.randint(3, 8))))
            made += [x for x in self.live if x not in before]
            adding += self.adding
        self.live, self.plain, self.adding = outer
        self.live += made
        self.adding += adding
        self.depth -= 1
        return s.Threads(tuple(blocks))

    def gather(self) -> s.Step:
        inputs = self.some(4, 1)
        return s.Gather(self.new(), inputs)

    def wait(self) -> s.Step:
        slots = self.some(6, 1)
        return s.Wait(slots, self.random.randint(1, len(slots)))

    def forget(self) -> s.Step | None:
        # In a thread's block the slots of the others are not its own to drop.
        # An actor's total is asked for when its answers have come.
        droppable = [x for x in self.live if x not in self.answers]
        if len(droppable) < 4 or self.depth:
            return None
        slot = self.random.choice(droppable)
        self.live.remove(slot)
        return s.Forget(slot)


_KINDS = [
    "put", "task", "task", "closure", "crash", "many", "nested", "stream", "actor", "call", "call",
    "calls", "keep", "kill", "cancel", "threads", "gather", "wait", "forget",
]  # fmt: skip
