"""What simulated tasks and actors do: generators that yield what they wait for.

A program gets the process it runs in, its attempt, and its arguments; it yields `Sleep` or `Get`
and returns its value.  Programs are known by name, which serves as their definition's id, and
become functions and classes for the real worker by `load`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from rayhpc.runtime.process.context import ActorExit, running
from rayhpc.wire.messages.common import UNIT

from .threads import SimThread

Program = Generator[Any, Any, Any]
PROGRAMS: dict[bytes, Callable[..., Program]] = {}
# Methods of actors get the process (whose `state` is the actor's) and their arguments.
METHODS: dict[str, Callable[..., Program]] = {}
# Those of generators.
STREAMS = {b"streams", b"differing"}
CONSTRUCTORS: dict[bytes, Callable[..., Program]] = {}
LARGE = 150_000
# Lies in a store, too; 30 of these fit into one node's, wherever they are made.
STORED = 120_000


class Sleep:
    """Run for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Get:
    """Wait for the values of references (in `get`, which may give the CPU back)."""

    def __init__(self, refs: list[Any]) -> None:
        self.refs = refs


class Item:
    """Yield a value from a streaming generator."""

    def __init__(self, value: Any) -> None:
        self.value = value


def load(process: Any, definition: bytes) -> Any:
    """The function or class of a name, for the worker that is to run it."""
    if definition in CONSTRUCTORS:
        return _class_of(process, definition)
    made = PROGRAMS[definition]
    run = _stream if definition in STREAMS else _run

    def function(*args: Any) -> Any:
        context = running.get()
        assert context is not None
        return run(process, made(process, context.attempt, *args))

    function.__name__ = definition.decode()
    return function


def _class_of(process: Any, definition: bytes) -> type:
    def construct(self: Any, *args: Any) -> None:
        _run(process, CONSTRUCTORS[definition](process, *args))

    def method(made: Callable[..., Program]) -> Callable[..., Any]:
        return lambda self, *args: _run(process, made(process, *args))

    methods = {name: method(made) for name, made in METHODS.items()}
    return type(definition.decode(), (), {"__init__": construct, **methods})


def _run(process: Any, program: Program) -> Any:
    """Run a program in the calling thread; what it returns."""
    try:
        item = _go_on(process, program)
    except StopIteration as stop:
        return stop.value
    raise AssertionError(f"a program that is no generator has yielded {item}")


def _stream(process: Any, program: Program) -> Iterator[Any]:
    """Run a program in the calling thread; what it yields."""
    while True:
        try:
            item = _go_on(process, program)
        except StopIteration:
            return
        yield item


def _go_on(process: Any, program: Program) -> Any:
    """Run a program until it yields an item; StopIteration brings what it returns."""
    answer = None
    while True:
        wanted = program.send(answer)
        answer = None
        if isinstance(wanted, Item):
            return wanted.value
        if isinstance(wanted, Sleep):
            SimThread.current().sleep(wanted.seconds)
        else:
            answer = process.values(wanted.refs)
        wanted = None


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
def exits(process: Any, attempt: int, value: int = 1) -> Program:
    """`sys.exit(1)`."""
    yield Sleep(0.0)
    raise SystemExit(1)


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
def sleeps(process: Any, attempt: int, seconds: float, value: int = 0) -> Program:
    """Take that long."""
    yield Sleep(seconds)
    return value


@program
def hands_on(process: Any, attempt: int, boxed: list[Any]) -> Program:
    """Get a reference that came inside another value."""
    (value,) = yield Get([boxed[0]])
    return value


@program
def passes_down(process: Any, attempt: int, boxed: list[Any], depth: int) -> Program:
    """Hand a reference that came inside a value to a task of one's own, and wait for that."""
    if not depth:
        (value,) = yield Get([boxed[0]])
        return value
    (value,) = yield Get([process.submit("passes_down", boxed, depth - 1, retries=-1)])
    return value


@program
def makes(process: Any, attempt: int, value: int, is_large: bool) -> Program:
    """Return references to an object that was put and to a task's result, inside a list."""
    yield Sleep(0.0001)
    data = value.to_bytes(8, "big") * (LARGE // 8 if is_large else 1)
    ref = process.put(data)
    return [ref, process.submit("large" if is_large else "short", value, retries=-1)]


@program
def uses_with(process: Any, attempt: int, boxed: list[Any], resource: str) -> Program:
    """Hand a reference that came inside a value to a task that needs a resource."""
    needs = {"CPU": UNIT, resource: UNIT}
    (value,) = yield Get([process.submit("number_of", boxed[0], retries=-1, resources=needs)])
    return value


@program
def number_of(process: Any, attempt: int, value: Any) -> Program:
    """The number that a large value begins with, or that a small one is."""
    yield Sleep(0.0003)
    return value if isinstance(value, int) else int.from_bytes(bytes(value[:8]), "big")


@program
def submits(process: Any, attempt: int, name: str, count: int) -> Program:
    """Submit tasks and return their references at once, in a list."""
    yield Sleep(0.0002)
    return [process.submit(name, i, retries=-1) for i in range(count)]


@program
def waits_for(process: Any, attempt: int, boxed: list[Any]) -> Program:
    """How many references there were, when all are there."""
    values = yield Get(boxed)
    return len(values)


@program
def nests(process: Any, attempt: int, value: int) -> Program:
    """Put an object with a reference inside, and return it inside a list."""
    yield Sleep(0.0001)
    inner = process.put(value.to_bytes(8, "big") * (LARGE // 8))
    outer = process.put([inner, value])
    return [outer]


@program
def returns_it(process: Any, attempt: int, boxed: list[Any]) -> Program:
    """Return a reference that was borrowed."""
    yield Sleep(0.0003)
    return [boxed[0]]


@program
def digs(process: Any, attempt: int, boxed: list[Any]) -> Program:
    """Follow references inside values down to what is no list any more."""
    value: Any = boxed
    while isinstance(value, list):
        (value,) = yield Get([value[0]])
    return int.from_bytes(bytes(value[:8]), "big") if not isinstance(value, int) else value


@program
def unsteady(process: Any, attempt: int, value: int) -> Program:
    """Two values, large at the first attempt, small at the next ones."""
    yield Sleep(0.001)
    data = value.to_bytes(8, "big") * (STORED // 8 if attempt == 0 else 1)
    return [data, data]


def _numbered(number: int) -> bytes:
    """A value that lies in the store, and begins with a number."""
    return number.to_bytes(8, "big") * (LARGE // 8)


@program
def differs(process: Any, attempt: int) -> Program:
    """Two values that say which attempt made them."""
    yield Sleep(0.001)
    return [_numbered(attempt), _numbered(attempt)]


@program
def differing(process: Any, attempt: int, count: int) -> Program:
    """Yield values that say which attempt made them."""
    for _ in range(count):
        yield Sleep(0.001)
        yield Item(_numbered(attempt))


@program
def streams(process: Any, attempt: int, count: int, is_large: bool) -> Program:
    """Yield numbers, one each millisecond."""
    for i in range(count):
        yield Sleep(process.world.random.uniform(0.0001, 0.001))
        yield Item(i.to_bytes(8, "big") * (LARGE // 8 if is_large else 1))


@program
def calls_on(process: Any, attempt: int, handle: Any, key: int, count: int) -> Program:
    """Call an actor several times from a task, and wait for the answers."""
    refs = [process.call(handle, "note", key, i) for i in range(count)]
    answers = yield Get(refs)
    return [i for _, i in answers]


@program
def has_children(process: Any, attempt: int, count: int) -> Program:
    """Submit long tasks and wait for them."""
    values = yield Get([process.submit("sleeps", 60.0) for _ in range(count)])
    return len(values)


# -- actors --------------------------------------------------------------------------------------
def method(function: Callable[..., Program]) -> Callable[..., Program]:
    """Register a method under its name."""
    METHODS[function.__name__] = function
    return function


def _plain(process: Any, *args: Any) -> Program:
    yield Sleep(process.world.random.uniform(0.0002, 0.002))
    process.state["args"] = args
    return None


def _slow(process: Any, *args: Any) -> Program:
    yield Sleep(0.3)
    return None


def _failing(process: Any, *args: Any) -> Program:
    yield Sleep(0.001)
    raise ValueError("this constructor always fails")


def _leaving(process: Any, *args: Any) -> Program:
    yield Sleep(0.001)
    raise ActorExit("this constructor leaves")


CONSTRUCTORS.update({b"plain": _plain, b"slow": _slow, b"failing": _failing, b"leaving": _leaving})


@method
def note(process: Any, key: int, number: int) -> Program:
    """Note a call: where it ran, and its number."""
    process.world.noted.append((process.core.me, key, number))
    yield Sleep(process.world.random.uniform(0.00005, 0.0005))
    return process.core.me, number


@method
def leave(process: Any) -> Program:
    """`exit_actor()`."""
    yield Sleep(0.0)
    raise ActorExit("it has left")


@method
def exit(process: Any) -> Program:
    """`sys.exit(1)`."""
    yield Sleep(0.0)
    raise SystemExit(1)


@method
def report(process: Any, key: int, number: int, size: int) -> Program:
    """Note the call; much is returned."""
    process.world.noted.append((process.core.me, key, number))
    yield Sleep(0.001)
    return bytes([number]) * size


@method
def echo(process: Any, *values: Any) -> Program:
    """The arguments."""
    yield Sleep(0.0001)
    return list(values)


@method
def argument(process: Any) -> Program:
    """What the constructor was given."""
    yield Sleep(0.0001)
    return process.state["args"][0]


@method
def wait_for(process: Any, seconds: float) -> Program:
    """Take that long."""
    yield Sleep(seconds)
    return seconds


@method
def blob(process: Any, value: int) -> Program:
    """A value that lies in the store."""
    yield Sleep(0.0003)
    return value.to_bytes(8, "big") * (LARGE // 8)


@method
def grow(process: Any, blob: bytes, by: int) -> Program:
    """A value that lies in the store, made from another such."""
    yield Sleep(0.0003)
    return (int.from_bytes(bytes(blob[:8]), "big") + by).to_bytes(8, "big") * (LARGE // 8)


@method
def differ(process: Any) -> Program:
    """Two values that say which attempt of the call made them."""
    context = running.get()
    assert context is not None
    yield Sleep(0.001)
    return [_numbered(context.attempt), _numbered(context.attempt)]


@method
def number(process: Any, value: bytes) -> Program:
    """The number that an argument begins with."""
    yield Sleep(0.0001)
    return int.from_bytes(bytes(value[:8]), "big")


@method
def look(process: Any, boxed: list[Any]) -> Program:
    """The number that the value of a reference begins with; the value is held from now on."""
    (value,) = yield Get(boxed)
    process.state.setdefault("looked at", []).append(value)
    return int.from_bytes(bytes(value[:8]), "big")


@method
def works(process: Any, seconds: float, count: int) -> Program:
    """Submit tasks and wait for them."""
    values = yield Get([process.submit("sleeps", seconds, i, retries=-1) for i in range(count)])
    return values


@method
def keep(process: Any, boxed: list[Any]) -> Program:
    """Keep a reference."""
    yield Sleep(0.0001)
    process.state["kept"] = boxed[0]
    return True


@method
def kept(process: Any) -> Program:
    """The value of the reference kept."""
    (value,) = yield Get([process.state["kept"]])
    return int.from_bytes(bytes(value[:8]), "big")


@method
def give(process: Any) -> Program:
    """The reference kept, inside a list; it is kept no longer."""
    yield Sleep(0.0001)
    return [process.state.pop("kept")]
