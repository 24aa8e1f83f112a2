"""Checks the values of options before they come near a script.

Called by `request`.  A value with a line break or another control character is always refused,
because a `#SBATCH` line ends at it; quotes and spaces are fine, templates quote every value.
"""

from __future__ import annotations

import re

from rayhpc.batch.errors import OptionError

# No machine has more nodes or processors, and no batch system takes higher task numbers.
MOST = 4_000_000
_TIME = re.compile(r"(\d{1,9}-\d{1,2}(:\d{1,2}){0,2}|\d{1,9}(:\d{1,2}){0,2})", re.ASCII)
_WORDS_FOR_TIME = ("UNLIMITED", "INFINITE")
_MEMORY = re.compile(r"\d{1,15}(\.\d{1,15})?\s*([KMGT]i?B?)?", re.IGNORECASE | re.ASCII)
_GPUS = re.compile(r"(?:([A-Za-z][\w.-]*):)?(\d{1,7})", re.ASCII)
_NUMBER = r"\d{1,7}"
_PART = rf"{_NUMBER}(-{_NUMBER}(:{_NUMBER})?)?"
_ARRAY = re.compile(rf"{_PART}(,{_PART})*(%{_NUMBER})?", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def text(option: str, value: str) -> str:
    """`value` unchanged.  Raises OptionError if it is empty or has a control character."""
    if not value.strip():
        raise OptionError(f"{option} is empty: give it a value or leave it out")
    found = _CONTROL.search(value)
    if found:
        what = "a line break" if found[0] in "\r\n" else f"the control character {found[0]!r}"
        raise OptionError(f"{option} {value!r} contains {what}: write it on one line")
    return value


def count(option: str, value: int) -> int:
    """A plausible number of at least 1.  Raises OptionError otherwise."""
    if value < 1:
        raise OptionError(f"{option} {value}: give a number of at least 1")
    if value > MOST:
        raise OptionError(f"{option} {value}: give at most {MOST}")
    return value


def duration(option: str, value: str) -> str:
    """A time as sbatch accepts it: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    if value.upper() in _WORDS_FOR_TIME or _TIME.fullmatch(value):
        return value
    raise OptionError(
        f"{option} {value!r} is not a time: write minutes (90), hours:minutes:seconds (1:30:00) "
        "or days-hours (2-12)"
    )


def seconds(value: str) -> float | None:
    """The length of a checked time; None if it is unlimited."""
    if value.upper() in _WORDS_FOR_TIME:
        return None
    days, _, rest = value.rpartition("-")
    numbers = [int(part) for part in rest.split(":")]
    if days:
        hours, minutes, secs = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, secs = numbers
    else:
        hours, (minutes, secs) = 0, (*numbers, 0)[:2]
    return float(int(days or 0) * 86400 + hours * 3600 + minutes * 60 + secs)


def memory(option: str, value: str) -> str:
    """An amount as sbatch accepts it (`64G`, `500M`, `0` for all); `64 GiB` becomes `64G`."""
    if _MEMORY.fullmatch(value.strip()) is None:
        raise OptionError(f"{option} {value!r} is not an amount of memory: write, for example, 64G")
    number, unit = re.split(r"(?<=[\d.])\s*(?=[A-Za-z]|$)", value.strip(), maxsplit=1)
    if "." in number:
        raise OptionError(f"{option} {value!r}: use a whole number of a smaller unit")
    return number + unit[:1].upper()


def memory_bytes(value: str) -> int:
    """The bytes of a checked amount; without a unit it is in MiB, as for sbatch."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    return int(value) << 20 if value.isdigit() else int(value[:-1]) * units[value[-1]]


def gpus(option: str, value: str) -> str:
    """A number of GPUs, or a type and a number (`a100:4`)."""
    if _GPUS.fullmatch(value) is None:
        raise OptionError(f"{option} {value!r}: write a number (4), or a type and it (a100:4)")
    return value


def gpu_count(value: str) -> int:
    """The number in a checked `gpus` value."""
    return int(value.rpartition(":")[2])


def array(option: str, value: str) -> str:
    """Task numbers as sbatch accepts them: `0-9`, `1,3,7`, `0-99:2%10`."""
    if _ARRAY.fullmatch(value) is None:
        raise OptionError(f"{option} {value!r}: write task numbers like 0-9, 1,3,7 or 0-99%10")
    if max(map(int, re.findall(r"\d+", value))) > MOST:
        raise OptionError(f"{option} {value!r}: task numbers go up to {MOST}")
    if not array_tasks(value):
        raise OptionError(f"{option} {value!r} names no task")
    return value


def array_tasks(value: str) -> list[int]:
    """All task numbers of a checked array, in order."""
    tasks: set[int] = set()
    for part in value.partition("%")[0].split(","):
        span, _, step = part.partition(":")
        low, _, high = span.partition("-")
        tasks.update(range(int(low), int(high or low) + 1, max(1, int(step or 1))))
    return sorted(tasks)


def variable(option: str, value: str) -> tuple[str, str]:
    """`NAME=value` as a pair.  The value may contain anything except NUL: it is quoted."""
    name, equals, content = value.partition("=")
    if not equals or _VARIABLE.fullmatch(name) is None:
        raise OptionError(f"{option} {value!r}: write NAME=value")
    if "\0" in content:
        raise OptionError(f"{option} {name}: an environment variable cannot contain a NUL")
    return name, content
