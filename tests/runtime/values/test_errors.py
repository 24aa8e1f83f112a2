"""What a task raised arrives as itself, with its remote traceback, whatever it is."""

from __future__ import annotations

import asyncio
import builtins
import json
import pickle
import sys
import textwrap
import threading
from typing import Any

import pytest

from rayhpc.exceptions import NotServedError, RayTaskError, TaskCancelledError, UserCodeException
from rayhpc.runtime.values import errors


def carried(error: BaseException) -> Any:
    """What `get` would raise for a task that raised `error`."""
    try:
        raise error
    except BaseException as raised:
        data = errors.dump_error(raised, function_name="f", pid=7, ip="10.0.0.1", actor_repr=None)
    return errors.load_error(data)


class NeedsTwo(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a}+{b}")
        self.a, self.b = a, b


class HoldsALock(Exception):
    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class Final(Exception):
    def __init_subclass__(cls) -> None:
        raise TypeError("final")


class WithSlots(Exception):
    __slots__ = ("code",)


class MadeFromParts(Exception):
    """Its `__new__` takes no single argument."""

    def __new__(cls, a: int, b: int) -> MadeFromParts:
        made = super().__new__(cls)
        made.a, made.b = a, b
        return made

    def __init__(self, a: int, b: int) -> None:
        super().__init__(a, b)


class Frozen(ValueError):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("frozen")


class OwnsOurNames(Exception):
    @property
    def pid(self) -> int:
        return 5

    @property
    def cause(self) -> str:
        return "the user's"


class FinalByMetaclass(type):
    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
        if any(isinstance(x, FinalByMetaclass) for x in bases):
            raise RuntimeError("final")
        return super().__new__(cls, name, bases, body)


class FinalOfMetaclass(Exception, metaclass=FinalByMetaclass):
    pass


class BadText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_it_is_an_instance_of_both_and_tells_where() -> None:
    found = carried(KeyError("k"))
    assert isinstance(found, KeyError)
    assert isinstance(found, RayTaskError)
    assert found.args == ("k",)
    text = str(found)
    assert "f() (pid=7, ip=10.0.0.1" in text
    assert "test_errors.py" in text
    assert "KeyError: 'k'" in text


def test_it_keeps_its_class_through_several_gets_and_pickles() -> None:
    twice = carried(carried(ValueError("deep")))
    again = pickle.loads(pickle.dumps(twice))
    for found in (twice, again):
        assert isinstance(found, ValueError)
        assert isinstance(found, RayTaskError)
        assert isinstance(found.cause, ValueError)
        assert type(found.cause) is ValueError


def test_attributes_of_the_cause_can_be_read() -> None:
    found = carried(OSError(2, "not there", "/x"))
    assert (found.errno, found.filename) == (2, "/x")


def _one_of_each() -> list[BaseException]:
    """An exception of each class that Python has built in, but for those that end a process."""
    texts = {
        UnicodeDecodeError: ("utf8", b"x", 0, 1, "why"),
        UnicodeEncodeError: ("utf8", "x", 0, 1, "why"),
        UnicodeTranslateError: ("x", 0, 1, "why"),
    }
    found = []
    for kind in vars(builtins).values():
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            continue
        if kind in (KeyboardInterrupt, SystemExit, GeneratorExit):
            continue
        if kind.__name__.endswith("ExceptionGroup"):
            found.append(kind("x", [ValueError("y")]))
        else:
            found.append(kind(*texts.get(kind, ("x",))))
    return found


@pytest.mark.parametrize(
    "error",
    [
        *_one_of_each(),
        MadeFromParts(1, 2),
        Frozen("f"),
        OwnsOurNames("o"),
        asyncio.CancelledError("c"),
        json.JSONDecodeError("text", "doc", 0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_it_can_be_caught_as_what_was_raised(error: BaseException) -> None:
    found = carried(error)
    for one in (found, pickle.loads(pickle.dumps(found))):
        assert isinstance(one, type(error))
        assert isinstance(one, RayTaskError)
        assert "f() (pid=7, ip=10.0.0.1" in str(one)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NeedsTwo(1, 2), "1+2"),
        (HoldsALock(), "HoldsALock: locked"),
        (Final("end"), "end"),
        (FinalOfMetaclass("end"), "end"),
        (WithSlots("s"), "WithSlots"),
        (BadText(), "BadText"),
    ],
)
def test_awkward_exceptions_arrive_readable(error: Exception, words: str) -> None:
    found = carried(error)
    assert isinstance(found, RayTaskError)
    assert words in str(found)


@pytest.mark.parametrize("error", [Final("end"), FinalOfMetaclass("end")])
def test_it_is_said_where_the_own_class_cannot_catch_it(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert type(carried(error)) is RayTaskError
    assert f"{type(error).__name__} cannot be subclassed" in caplog.text
    assert "`ray_task_error.cause`" in caplog.text
    caplog.clear()
    carried(KeyError("k"))
    carried(KeyboardInterrupt())
    assert caplog.text == ""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="except* came with Python 3.11")
def test_groups_are_taken_apart_by_except_star() -> None:
    """In text, since older Pythons cannot read it."""
    found: dict[str, Any] = {}
    program = """
class Own(ExceptionGroup):
    def derive(self, errors):
        return Own(self.message, errors)

for group in (ExceptionGroup, Own):
    inner = group("inner", [ValueError("b"), KeyError("c")])
    try:
        raise carried(group("outer", [ValueError("a"), inner]))
    except* ValueError as values:
        found["values"] = values
    except* KeyError as keys:
        found["keys"] = keys
    assert type(found["values"]) is type(found["keys"]) is group, found
    """
    exec(textwrap.dedent(program), {"carried": carried, "found": found})
    values = found["values"]
    assert values.exceptions[0].args == ("a",)
    assert values.exceptions[1].exceptions[0].args == ("b",)
    assert found["keys"].exceptions[0].exceptions[0].args == ("c",)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups came with Python 3.11")
def test_a_group_arrives_as_itself() -> None:
    group = ExceptionGroup("two", [ValueError("a"), TypeError("b")])  # noqa: F821
    found = pickle.loads(pickle.dumps(carried(group)))
    assert isinstance(found, RayTaskError)
    assert isinstance(found, type(group))
    assert found.message == "two"
    assert [type(x) for x in found.exceptions] == [ValueError, TypeError]
    assert "test_errors.py" in str(found)


def test_the_runtimes_own_errors_keep_their_text() -> None:
    for error in (TaskCancelledError("ab"), NotServedError("x", "do y")):
        back = errors.load_error(errors.dump_system_error(error))
        assert type(back) is type(error)
        assert str(back) == str(error)


def test_what_cannot_be_rebuilt_here_says_so() -> None:
    found = errors.load_error(b"\x80\x05cmissing_module\nThing\n.")
    assert "missing_module" in str(found)


def test_an_unpicklable_cause_is_shown() -> None:
    found = carried(HoldsALock())
    assert isinstance(found.cause, UserCodeException)
    assert "HoldsALock, isn't serializable" in str(found.cause)
