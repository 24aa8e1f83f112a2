"""Finds out why a value cannot be sent: which parts of it cannot be pickled.

Used by programs, after a TypeError of `remote` or `put`.
"""

from __future__ import annotations

from typing import Any, TextIO

import cloudpickle

from rayhpc.api.objects.pickling import find_unpicklable


class FailureTuple:
    """A part that cannot be pickled.

    Attributes:
        obj: the part.
        name: the path to it.
        parent: what was inspected.
    """

    def __init__(self, obj: Any, name: str, parent: Any) -> None:
        self.obj = obj
        self.name = name
        self.parent = parent

    def __repr__(self) -> str:
        return f"FailureTuple({self.name} [obj={self.obj!r}, parent={self.parent!r}])"


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: TextIO | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Whether `base_obj` can be sent and, if not, which part of it cannot.

    Args:
        base_obj: a value, function or class.
        name: its name in the report.
        depth: kept for compatibility with Ray; the search goes as deep as needed.
        print_file: where the report goes (stdout).

    Returns:
        Whether it can be sent, and the offending parts.
    """
    shown = name or getattr(base_obj, "__qualname__", None) or type(base_obj).__name__
    print(f"Checking whether {shown} can be sent to another process", file=print_file)
    try:
        cloudpickle.dumps(base_obj, 5)
    except Exception as error:
        path, culprit = find_unpicklable(base_obj)
        print(f"  No: {shown}{path} cannot: {error}", file=print_file)
        print("  Create that part inside the task or actor, or leave it out.", file=print_file)
        return False, {FailureTuple(culprit, f"{shown}{path}", base_obj)}
    print("  Yes", file=print_file)
    return True, set()
