"""Which import statement is running: `import ray.data` or `from ray.data import something`.

Used by `finder`, because programs probe with the first form and need only the second to succeed,
and the import system does not tell finders the names.  Reads the caller's code; changes nothing.
"""

from __future__ import annotations

import dis
import sys
from types import FrameType
from typing import NamedTuple

_MACHINERY = "<frozen importlib"


class Statement(NamedTuple):
    """`module` is what is imported (empty if it is a call, not a statement), `names` from it."""

    module: str
    names: tuple[str, ...]


def under_way(package: str) -> Statement | None:
    """The import that asks for something in `package`; None: a lookup, not an import."""
    frame: FrameType | None = sys._getframe(1)
    importing = False
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_MACHINERY):
            importing = importing or code.co_name == "_find_and_load"
        elif importing:
            return _statement_at(frame, package)
        frame = frame.f_back
    return None


def _statement_at(frame: FrameType, package: str) -> Statement:
    names: object = None
    for instruction in dis.get_instructions(frame.f_code):
        if instruction.offset == frame.f_lasti:
            if instruction.opname == "IMPORT_NAME" and str(instruction.argval).startswith(package):
                taken = tuple(str(x) for x in names) if isinstance(names, tuple) else ()
                return Statement(str(instruction.argval), taken)
            break
        if instruction.opname == "LOAD_CONST":
            names = instruction.argval
    return Statement("", ())
