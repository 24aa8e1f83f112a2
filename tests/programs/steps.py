"""What a generated program consists of: steps that read numbered slots and write others.

Made by `generate`, carried out by `plain` and by `cluster`, each of which has one method for each
kind of step.  Plain data: a step travels to workers as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Shape = tuple[str, int]


@dataclass(frozen=True)
class Input:
    """An argument: a slot's reference, as it is or in a container, where it stays a reference."""

    slot: int
    wrapped: str = ""  # "", "list" or "dict"


@dataclass(frozen=True)
class Put:
    """`put` of a value, or of a container of references."""

    out: int
    shape: Shape
    number: int
    inputs: tuple[Input, ...] = ()


@dataclass(frozen=True)
class Task:
    """A task: its results are made from the digest of its arguments.

    Attributes:
        captured: slots whose references stand in the function's closure.
        crashes: its process ends during the first attempt.
        raises: the message of the exception it raises ("" for none).
    """

    outs: tuple[int, ...]
    shape: Shape
    number: int
    inputs: tuple[Input, ...] = ()
    captured: tuple[int, ...] = ()
    num_cpus: float = 1
    crashes: bool = False
    raises: str = ""


@dataclass(frozen=True)
class Nested:
    """A task that carries out steps of its own on references it was given.

    Attributes:
        returned: inner slots of which it returns the references (their values, with `by_value`).
    """

    out: int
    given: tuple[int, ...]
    steps: tuple[Step, ...]
    returned: tuple[int, ...]
    by_value: bool


@dataclass(frozen=True)
class Stream:
    """A streaming generator: one slot an item; the last one carries the error, if it raises.

    Attributes:
        taken: how many items are taken; the rest is dropped with the generator.
    """

    outs: tuple[int, ...]
    shape: Shape
    number: int
    items: int
    inputs: tuple[Input, ...] = ()
    raises: str = ""

    @property
    def taken(self) -> int:
        return len(self.outs)


@dataclass(frozen=True)
class NewActor:
    """An actor: "plain" keeps state call by call, "threads" and "async" only add up."""

    actor: int
    kind: str
    number: int
    name: str = ""


@dataclass(frozen=True)
class Call:
    """A call of a method; `through` has a task make it (for actors that only add up)."""

    out: int
    actor: int
    shape: Shape
    number: int
    inputs: tuple[Input, ...] = ()
    through: bool = False
    raises: str = ""


@dataclass(frozen=True)
class Keep:
    """An actor keeps references, and a later call reads them."""

    out: int
    actor: int
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class Kill:
    """`kill` of an actor once its calls are answered; the call after it fails."""

    actor: int
    out: int


@dataclass(frozen=True)
class Cancel:
    """A task that would take minutes, perhaps with children, is cancelled."""

    out: int
    children: int
    number: int


@dataclass(frozen=True)
class Threads:
    """Blocks of steps, each in a thread of its own; slots do not overlap."""

    blocks: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True)
class Gather:
    """References awaited together in an event loop, and what they are put as a new object."""

    out: int
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Wait:
    """`wait` for some of several slots; changes nothing."""

    slots: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class Forget:
    """The program lets go of a reference."""

    slot: int


Step = (
    Put
    | Task
    | Nested
    | Stream
    | NewActor
    | Call
    | Keep
    | Kill
    | Cancel
    | Threads
    | Gather
    | Wait
    | Forget
)


@dataclass(frozen=True)
class Program:
    """One program.

    Attributes:
        checked: slots whose values are compared at its end.
        actors: actors that add up, whose totals are compared at its end.
    """

    seed: int
    steps: tuple[Step, ...]
    checked: tuple[int, ...]
    actors: tuple[int, ...] = field(default=())
