"""Pickles in which chosen parts are replaced by references, and filled in again where they run.

Used by `dask` (references inside a task's graph) and `joblib` (large arrays that many calls
share).  The references go along as the task's own arguments, so that they are counted and
fetched as such.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle

Choose = Callable[[Any], Any]


def dumps(value: Any, choose: Choose) -> tuple[bytes, list[Any]]:
    """Pickle `value` without the parts that `choose` gives a reference for.

    Args:
        value: what is to be sent.
        choose: for a part, the reference that stands for it; None: it is pickled as it is.

    Returns:
        The pickle, and the references in the order `loads` wants their values in.
    """
    out = io.BytesIO()
    pickler = _Pickler(out, choose)
    pickler.dump(value)
    return out.getvalue(), list(pickler.found)


def loads(data: bytes, values: Sequence[Any]) -> Any:
    """The value, with the parts that were left out put in."""
    return _Unpickler(io.BytesIO(data), values).load()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, choose: Choose) -> None:
        super().__init__(file, protocol=5)
        self._choose = choose
        self.found: dict[Any, int] = {}

    def persistent_id(self, part: Any) -> int | None:
        ref = self._choose(part)
        return None if ref is None else self.found.setdefault(ref, len(self.found))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, values: Sequence[Any]) -> None:
        super().__init__(file)
        self._values = values

    def persistent_load(self, pid: Any) -> Any:
        return self._values[pid]
