"""Pickles in which chosen parts are replaced by references, and filled in again where they run.

Used by `dask` (references inside a task's graph) and `joblib` (large arrays that many calls
share), where the references go along as the task's own arguments, so that they are counted and
fetched as such; and by `dag`, for the nodes inside arguments.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle

Choose = Callable[[Any], Any]


def dumps(value: Any, choose: Choose) -> tuple[bytes, list[Any]]:
    """Pickle `value` without the parts that `choose` gives something else for.

    Args:
        value: what is to be sent.
        choose: for a part, what stands for it, a reference mostly; None: it is pickled as it is.

    Returns:
        The pickle, and what `choose` gave, in the order `loads` wants the values in.
    """
    out = io.BytesIO()
    pickler = _Pickler(out, choose)
    pickler.dump(value)
    return out.getvalue(), pickler.found


def loads(data: bytes, values: Sequence[Any]) -> Any:
    """The value, with the parts that were left out put in."""
    return _Unpickler(io.BytesIO(data), values).load()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, choose: Choose) -> None:
        super().__init__(file, protocol=5)
        self._choose = choose
        # By identity: what stands for a part need not be hashable.
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
