"""Checks of the options of functions, actors and methods: one per kind of value.

Used by `options`, and where bundles and nodes are sized; options that say where something runs
are checked by `placing_checks`.  A check takes the option's name and value, and returns the value
in the form in which it is kept.

Raises, in all of them:
    TypeError: a value of the wrong type; the text names the right ones.
    ValueError: an invalid value; the text says what is allowed.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Mapping
from typing import Any

from rayhpc.api.tasks.given import encodable, shown, wrong_type

Check = Callable[[str, Any], Any]

# The smallest fraction of a resource.
FINEST = 0.0001
# Amounts are sent as integers in units of 1/10000, in 64 bits; counts as they are.
_MOST_OF_A_RESOURCE = 2**63 // 10_000 - 1
_HIGHEST_COUNT = 2**63 - 1
# Each result is a reference in its owner from the moment of the call.
_MOST_RESULTS = 1_000_000
INFINITE = -1
#: In `_metadata`: options of ours that Ray does not know, which it thus leaves alone.
OUR_METADATA = "rayhpc.io/options"
_OWN_NAMES = {
    "CPU": "num_cpus",
    "GPU": "num_gpus",
    "memory": "memory",
    "object_store_memory": "object_store_memory",
}

_OF_BUNDLES = "bundle"


# -- numbers ---------------------------------------------------------------------------------------
def amount(name: str, value: Any) -> float:
    """An amount of a resource: not negative, no finer than 0.0001."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise wrong_type(name, "a number", value)
    try:
        number = int(value) if isinstance(value, numbers.Integral) else float(value)
    except OverflowError:
        raise _too_much(name, value) from None
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError(f"The quantity of resource {name!r} must be finite, not {value!r}.")
    if number < 0:
        raise ValueError(
            f"The quantity of resource {name!r} cannot be negative, and is {shown(value)}."
        )
    if 0 < number < FINEST:
        raise ValueError(
            f"The precision of the fractional quantity of resource {name!r} cannot go beyond "
            f"{FINEST}: {value!r} is finer."
        )
    if number > _MOST_OF_A_RESOURCE:
        raise _too_much(name, value)
    return number


def _too_much(name: str, value: Any) -> ValueError:
    return ValueError(
        f"The quantity of resource {name!r} is {shown(value)}, more than any cluster has: it can "
        f"be {_MOST_OF_A_RESOURCE} at most."
    )


def whole_amount(name: str, value: Any) -> int:
    """An integral amount: 2, or 2.0 as programs compute it."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise wrong_type(name, "0 or a positive integer", value)
    number = amount(name, value)
    if number != int(number):
        raise ValueError(f"The option {name!r} must be a whole number, not {value!r}.")
    return int(number)


def gpus(name: str, value: Any) -> float:
    """GPUs: a fraction of one, or a whole number."""
    number = amount(name, value)
    if number > 1 and number != int(number):
        raise ValueError(
            f"The option {name!r} must be a whole number above 1 (a task cannot share several "
            f"GPUs), and is {value!r}."
        )
    return number


def resources(name: str, value: Any) -> dict[str, float]:
    """Custom resources: name → amount."""
    if not isinstance(value, Mapping):
        raise wrong_type(name, "a dict of resource → amount", value)
    kept = {}
    for key, quantity in value.items():
        if not isinstance(key, str) or not key:
            raise wrong_type(name, "a dict whose keys are names of resources", value)
        if key in _OWN_NAMES:
            raise ValueError(f"Use the option {_OWN_NAMES[key]!r} instead of {key!r} in {name!r}.")
        kept[resource_name(f"key in {name}", key)] = amount(f"{name}[{key!r}]", quantity)
    return kept


def resource_name(name: str, value: str) -> str:
    """The name of a resource: UTF-8, and not the one by which Ray counts bundles.

    Raises:
        ValueError: it cannot be encoded, or is that one.
    """
    if value == _OF_BUNDLES:
        raise ValueError(
            f"{name}: {value!r} is what placement groups count their bundles by; give the resource "
            "another name."
        )
    return encodable(name, value)


def count(least: int) -> Check:
    """Whole numbers of at least `least`; -1 as the least means infinity."""
    allowed = "0 or a positive integer" if least == 0 else "a positive integer"
    if least == INFINITE:
        allowed = "0, a positive integer, or -1 for infinity"

    def check(name: str, value: Any) -> int:
        number = whole_number(name, value, allowed)
        if number < least:
            raise ValueError(f"The option {name!r} must be {allowed}, not {shown(number)}.")
        return number

    return check


def pending_calls(name: str, value: Any) -> int:
    """max_pending_calls: a positive number; -1 or 0 for no limit."""
    return count(INFINITE)(name, value) or INFINITE


def num_returns(name: str, value: Any) -> int | str:
    """How many references a call returns."""
    allowed = "0, a positive integer, 'dynamic' or 'streaming'"
    if isinstance(value, str):
        if value not in ("dynamic", "streaming"):
            raise ValueError(f"The option {name!r} must be {allowed}, not {shown(value)}.")
        return value
    number = whole_number(name, value, allowed, _MOST_RESULTS)
    if number < 0:
        raise ValueError(f"The option {name!r} must be {allowed}, not {shown(number)}.")
    return number


def window(name: str, value: Any) -> int:
    """How far ahead a generator may run, in items: positive, or -1 for no bound."""
    number = whole_number(name, value, "a positive integer, or -1 for no bound")
    if number == 0 or number < INFINITE:
        raise ValueError(
            f"The option {name!r} must be a positive integer, or -1 for no bound, not "
            f"{shown(number)}: a "
            "generator that may not run ahead never yields an item."
        )
    return number


def whole_number(name: str, value: Any, allowed: str, most: int = _HIGHEST_COUNT) -> int:
    """A whole number up to `most`; `allowed` describes the valid values in words."""
    if isinstance(value, bool):
        raise wrong_type(name, allowed, value)
    try:
        number = operator.index(value)
    except TypeError:
        raise wrong_type(name, allowed, value) from None
    if number > most:
        raise ValueError(
            f"The option {name!r} must be {allowed}, and at most {most}; it is {shown(number)}."
        )
    return number


# -- words -----------------------------------------------------------------------------------------
def text(name: str, value: Any) -> str:
    """A name: not empty."""
    if not isinstance(value, str):
        raise wrong_type(name, "text", value)
    if not value:
        raise ValueError(f"The option {name!r} cannot be an empty string; leave it out instead.")
    return encodable(name, value)


def actor_name(name: str, value: Any) -> str:
    """The name of an actor: not empty, said in Ray's words."""
    if value == "":
        raise ValueError("Actor name cannot be an empty string; leave it out instead.")
    return text(name, value)


def title(name: str, value: Any) -> str | None:
    """The name of a task or call in logs and listings; an empty string means none."""
    if not isinstance(value, str):
        raise wrong_type(name, "text", value)
    return encodable(name, value) or None


def one_of(*words: str) -> Check:
    """One of a few words."""

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise wrong_type(name, f"one of {', '.join(map(repr, words))}", value)
        if value not in words:
            raise ValueError(
                f"The option {name!r} must be one of {', '.join(map(repr, words))} or None, not "
                f"{shown(value)}."
            )
        return value

    return check


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise wrong_type(name, "True or False", value)
    return value


# -- structures ------------------------------------------------------------------------------------
def retry_exceptions(name: str, value: Any) -> bool | tuple[type[BaseException], ...]:
    """True (all), False (none), or the exception types worth a retry."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, (list, tuple)):
        raise wrong_type(name, "a boolean or a list of exception types", value)
    for kind in value:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise ValueError(
                f"The option {name!r} must be a boolean or a list of exception types; {kind!r} is "
                "not an exception type."
            )
    return tuple(value)


def groups(name: str, value: Any) -> dict[str, int]:
    """Concurrency groups: name → how many calls may run at a time."""
    if not isinstance(value, Mapping):
        raise wrong_type(name, "a dict of group → how many calls may run at a time", value)
    return {
        text(f"name of a group in {name}", group): count(1)(f"{name}[{group!r}]", limit)
        for group, limit in value.items()
    }


def selector(name: str, value: Any) -> dict[str, str]:
    """A label selector: label → "value", "!value", "in(a,b)" or "!in(a,b)"."""
    if not isinstance(value, Mapping):
        raise wrong_type(name, "a dict of label → value", value)
    for label, wanted in value.items():
        if not isinstance(label, str) or not isinstance(wanted, str):
            raise wrong_type(name, "a dict of text → text", value)
        encodable(name, label + wanted)
        if not label or not wanted.lstrip("!"):
            raise ValueError(
                f"The option {name!r} needs a label and a value, for example "
                f'{{"zone": "a"}}, {{"zone": "!a"}} or {{"zone": "in(a,b)"}}; not {value!r}.'
            )
    return dict(value)


def metadata(name: str, value: Any) -> dict[str, Any]:
    """What libraries add, each by a name of its own; ours is how long a task or actor runs."""
    if not isinstance(value, Mapping):
        raise wrong_type(name, "a dict", value)
    for key in value:
        if isinstance(key, str) and key.startswith("rayhpc.io/") and key != OUR_METADATA:
            raise ValueError(f"There is no {key!r} in {name}: did you mean {OUR_METADATA!r}?")
    ours = value.get(OUR_METADATA, {})
    if not isinstance(ours, Mapping):
        raise wrong_type(OUR_METADATA, 'a dict such as {"seconds": 600}', ours)
    for key in ours:
        if key != "seconds":
            raise ValueError(f"There is no {key!r} in {OUR_METADATA!r}: only 'seconds'.")
    seconds = ours.get("seconds", 1)
    if isinstance(seconds, bool) or not isinstance(seconds, numbers.Real):
        raise wrong_type("seconds", "a number", seconds)
    if not 0 < float(seconds) < math.inf:
        raise ValueError(f"'seconds' must be a number above 0, not {seconds!r}.")
    return dict(value)


def anything(_: str, value: Any) -> Any:
    """Options that are accepted for programs that pass them, and have no effect."""
    return value
