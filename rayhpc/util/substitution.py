"""Pickles in which chosen parts are replaced by references, and substituted again where they run.

Used by `dask` (references inside a task's graph) and `joblib` (large arrays that many calls share),
where the references are sent as the task's own arguments, so that they are counted and fetched as
such; and by `dag`, for nodes inside arguments.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle

Choose = Callable[[Any], Any]


def dumps(value: Any, choose: Choose) -> tuple[bytes, list[Any]]:
    """Pickle `value` without the parts that `choose` replaces.

    Args:
        value: the value to send.
        choose: returns what stands for a part, usually a reference; None: it is pickled unchanged.

    Returns:
        The pickle, and the replacements, in the order in which `loads` expects the values.
    """
    out = io.BytesIO()
    pickler = _Pickler(out, choose)
    pickler.dump(value)
    return out.getvalue(), pickler.found


def loads(data: bytes, values: Sequence[Any]) -> Any:
    """The value, with the omitted parts put back in."""
    return _Unpickler(io.BytesIO(data), values).load()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, choose: Choose) -> None:
        super().__init__(file, protocol=5)
        self._choose = choose
        # By identity: a replacement need not be hashable.
        self._places: dict[int, int] = {}
        self.found: list[Any] = []

    def persistent_id(self, part: Any) -> int | None:
        chosen = self._choose(part)
        if chosen is None:
            return None
        place = self._places.setdefault(id(chosen), len(self.found))
        if place == len(self.found):
            self.found.append(chosen)
        return place


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, values: Sequence[Any]) -> None:
        super().__init__(file)
        self._values = values

    def persistent_load(self, pid: Any) -> Any:
        return self._values[pid]
