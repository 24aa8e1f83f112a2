"""Arrays for collective operations: checked, flattened, and written back in place.

Used by `group` and `collective`.  numpy arrays and PyTorch CPU tensors; imports neither library on
its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from rayhpc.exceptions import NotServedError
from rayhpc.util.collective.types import ReduceOp

_REDUCE = {
    ReduceOp.SUM: np.add,
    ReduceOp.PRODUCT: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
}


def as_array(tensor: Any) -> np.ndarray[Any, Any]:
    """The tensor's memory as an array.

    Raises:
        RuntimeError: neither an array nor a tensor, or a type that numpy does not have.
        NotServedError: it is in GPU memory.
    """
    if isinstance(tensor, np.ndarray):
        if tensor.dtype.hasobject:
            raise RuntimeError("Arrays of Python objects cannot be reduced or sent: use put().")
        return tensor
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(tensor, torch.Tensor):
        return _memory_of(tensor)
    if type(tensor).__module__.split(".")[0] == "cupy":
        raise _on_gpu()
    raise RuntimeError(
        f"Unrecognized tensor type '{type(tensor)}'. Supported types are: np.ndarray, torch.Tensor "
        "(on the CPU)."
    )


def as_arrays(tensors: Any) -> list[np.ndarray[Any, Any]]:
    """`as_array` for a list.

    Raises:
        RuntimeError: not a list, an empty one, or one containing something else.
    """
    if not isinstance(tensors, list):
        raise RuntimeError(f"The input must be a list of tensors. Got '{type(tensors)}'.")
    if not tensors:
        raise RuntimeError("Got an empty list of tensors.")
    return [as_array(x) for x in tensors]


def writable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array, checked to be modifiable by an operation.

    Raises:
        RuntimeError: it is read-only.
    """
    if not array.flags.writeable:
        raise RuntimeError(
            "The array is read-only, like all arrays from the object store: give the "
            "operation a copy (array.copy())."
        )
    return array


class Flat:
    """An array as one row of numbers; if that needs a copy, `write_back` copies it back."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array
        self.row = np.ascontiguousarray(array).reshape(-1)

    def write_back(self) -> None:
        """Copy the row's contents into the array."""
        if not np.shares_memory(self.row, self._array):
            self._array[...] = self.row.reshape(self._array.shape)


def reduce_into(target: np.ndarray[Any, Any], value: np.ndarray[Any, Any], op: ReduceOp) -> None:
    """Set `target` to the reduction of both."""
    _REDUCE[op](target, value, out=target)


def slices(length: int, itemsize: int, nbytes: int) -> Iterator[slice]:
    """Slices of a row of at most `nbytes` each; one empty slice for an empty row."""
    step = max(1, nbytes // max(1, itemsize))
    for start in range(0, max(1, length), step):
        yield slice(start, min(length, start + step))


def _memory_of(tensor: Any) -> np.ndarray[Any, Any]:
    if tensor.device.type != "cpu":
        raise _on_gpu()
    try:
        array: np.ndarray[Any, Any] = tensor.detach().numpy()
    except TypeError as error:
        raise RuntimeError(f"Tensors of type {tensor.dtype} are not supported: {error}") from error
    return array


def _on_gpu() -> NotServedError:
    return NotServedError(
        "collective operations on GPU memory",
        "use torch.distributed with NCCL in the actors, or move the tensor to the CPU first",
    )
