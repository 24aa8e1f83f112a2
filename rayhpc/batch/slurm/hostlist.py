"""SLURM's compressed lists, decoded without `scontrol` (which would be a call to the controller).

Called by `slurm.py`.  The format: names separated by commas; within a name each bracket contains
numbers and ranges, leading zeros kept; several brackets multiply (`rack[1-2]n[01-16]-ib`).
"""

from __future__ import annotations

import itertools
import re

# More nodes than any machine has; a longer list is a corrupt variable, not a cluster.
MOST_NODES = 1 << 20

_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_REPEAT = re.compile(r"(\d+)(?:\(x(\d+)\))?")


def decode_hostlist(text: str) -> tuple[str, ...]:
    """All node names in order; none for `(null)` and an empty text.

    Raises ValueError, naming the text, if it is not a host list.
    """
    if text.strip() in ("", "(null)"):
        return ()
    names: list[str] = []
    for word in _split_outside_brackets(text):
        names += _expand(word, text)
        _check_number(len(names), text)
    return tuple(names)


def decode_counts(text: str) -> tuple[int, ...]:
    """Decode one number per node with repetitions: `2(x3),1` is 2, 2, 2, 1.

    Raises ValueError, naming the text, for anything else.
    """
    counts: list[int] = []
    for word in filter(None, text.strip().split(",")):
        match = _REPEAT.fullmatch(word)
        if match is None:
            raise ValueError(f"{text!r} is not a list of counts like '2(x3),1'")
        times = int(match[2] or 1)
        _check_number(len(counts) + times, text)
        counts += [int(match[1])] * times
    return tuple(counts)


def _split_outside_brackets(text: str) -> list[str]:
    words, depth, start = [], 0, 0
    for position, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if char == "," and depth == 0:
            words.append(text[start:position])
            start = position + 1
    words.append(text[start:])
    return [word.strip() for word in words if word.strip()]


def _expand(word: str, text: str) -> list[str]:
    """Expand one word with any number of brackets; the last bracket varies fastest."""
    pieces = _BRACKET.split(word)
    if any(char in literal for literal in pieces[0::2] for char in "[]"):
        raise ValueError(f"{text!r} is not a host list: its brackets do not match")
    choices = [
        [piece] if index % 2 == 0 else _numbers(piece, text) for index, piece in enumerate(pieces)
    ]
    total = 1
    for choice in choices:
        total *= len(choice)
    _check_number(total, text)
    return ["".join(parts) for parts in itertools.product(*choices)]


def _numbers(inside: str, text: str) -> list[str]:
    found: list[str] = []
    for part in inside.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"{text!r} is not a host list: {part!r} is not a range of numbers")
        low, high = int(match[1]), int(match[2] or match[1])
        _check_number(len(found) + high - low + 1, text)
        found += [str(number).zfill(len(match[1])) for number in range(low, high + 1)]
    return found


def _check_number(number: int, text: str) -> None:
    if number > MOST_NODES:
        raise ValueError(f"{text[:80]!r} names more than {MOST_NODES} nodes")
