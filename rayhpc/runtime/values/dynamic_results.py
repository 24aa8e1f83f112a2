"""The value of a task with num_returns="dynamic": the references of what it yielded.

Made by `worker.execution`, unpickled wherever the task's result is read.  Holds them only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rayhpc.runtime.values.references import ObjectRef


class DynamicObjectRefGenerator:
    """The references of a task with num_returns='dynamic': iterable as often as you like."""

    def __init__(self, refs: list[ObjectRef[Any]]) -> None:
        self._refs = refs

    def __iter__(self) -> Iterator[ObjectRef[Any]]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)

    def __getitem__(self, index: int) -> ObjectRef[Any]:
        return self._refs[index]
