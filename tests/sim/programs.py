"""What simulated tasks do: generators that yield what they wait for.

A program gets the process it runs in, its attempt, and its arguments; it yields `Sleep` or `Get`
and returns its value.  Programs are known by name, which serves as their definition's id.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

Program = Generator[Any, Any, Any]
PROGRAMS: dict[bytes, Callable[..., Program]] = {}
LARGE = 150_000


class Sleep:
    """Run for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Get:
    """Wait for the values of references (in `get`, which may give the CPU back)."""

    def __init__(self, refs: list[Any]) -> None:
        self.refs = refs


def program(function: Callable[..., Program]) -> Callable[..., Program]:
    """Register a program under its name."""
    PROGRAMS[function.__name__.encode()] = function
    return function


@program
def short(process: Any, attempt: int, value: int = 1) -> Program:
    """Return the argument after some 100 µs."""
    yield Sleep(process.world.random.uniform(0.00001, 0.0003))
    return value


@program
def mixed(process: Any, attempt: int, value: int = 1) -> Program:
    """Mostly short, sometimes long."""
    yield Sleep(2.0 if process.world.random.random() < 0.02 else 0.002)
    return value


@program
def add(process: Any, attempt: int, *values: int) -> Program:
    """The sum of the arguments."""
    yield Sleep(0.0005)
    return sum(values)


@program
def large(process: Any, attempt: int, value: int) -> Program:
    """A value that lies in the store."""
    yield Sleep(0.0005)
    return value.to_bytes(8, "big") * (LARGE // 8)


@program
def first_of(process: Any, attempt: int, *blobs: bytes) -> Program:
    """The sum of the numbers that large values begin with."""
    yield Sleep(0.0003)
    return sum(int.from_bytes(bytes(b[:8]), "big") for b in blobs)


@program
def fibonacci(process: Any, attempt: int, n: int) -> Program:
    """Recursive tasks, each of which waits for two others."""
    if n < 2:
        yield Sleep(0.0001)
        return n
    refs = [process.submit("fibonacci", n - 1), process.submit("fibonacci", n - 2)]
    left, right = yield Get(refs)
    return left + right


@program
def hands_on(process: Any, attempt: int, boxed: list[Any]) -> Program:
    """Get a reference that came inside another value."""
    (value,) = yield Get([boxed[0]])
    return value
