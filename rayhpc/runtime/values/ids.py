"""The id classes users meet: hashable, comparable, convertible to and from bytes and hex text.

Used by users and by the modules of `api` that return ids.  An id says nothing about where a thing
is.
"""

from __future__ import annotations

import os
from typing import TypeVar

from rayhpc.wire.address import (
    ACTOR_ID_BYTES,
    GROUP_ID_BYTES,
    OBJECT_ID_BYTES,
    TASK_ID_BYTES,
    Address,
)

Id = TypeVar("Id", bound="BaseID")


class BaseID:
    """What all ids have in common.

    Args:
        binary: the id's bytes.

    Raises:
        TypeError: not bytes.
        ValueError: the wrong length for ids of this kind.
    """

    __slots__ = ("_binary",)
    SIZE = 16

    def __init__(self, binary: bytes) -> None:
        if not isinstance(binary, bytes):
            raise TypeError(
                f"{type(self).__name__} takes bytes, not a {type(binary).__name__}; "
                f"{type(self).__name__}.from_hex takes text."
            )
        if len(binary) != self.SIZE:
            raise ValueError(f"{type(self).__name__} takes {self.SIZE} bytes, not {len(binary)}.")
        self._binary = binary

    @classmethod
    def size(cls) -> int:
        """The length of an id in bytes."""
        return cls.SIZE

    @classmethod
    def nil(cls: type[Id]) -> Id:
        """The nil id."""
        return cls(b"\xff" * cls.SIZE)

    @classmethod
    def from_hex(cls: type[Id], text: str) -> Id:
        """The id with this `hex`.

        Raises:
            ValueError: not hexadecimal digits, or not as many as such an id has.
        """
        return cls(bytes.fromhex(text))

    @classmethod
    def from_binary(cls: type[Id], binary: bytes) -> Id:
        """The id with this `binary`."""
        return cls(binary)

    @classmethod
    def from_random(cls: type[Id]) -> Id:
        """A unique random id."""
        return cls(os.urandom(cls.SIZE))

    def binary(self) -> bytes:
        """The id as bytes."""
        return self._binary

    def hex(self) -> str:
        """The id as text."""
        return self._binary.hex()

    def is_nil(self) -> bool:
        """Whether this is the nil id."""
        return self._binary == b"\xff" * self.SIZE

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._binary == self._binary

    def __hash__(self) -> int:
        return hash(self._binary)

    def __lt__(self: Id, other: Id) -> bool:
        return self._binary < other._binary

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"

    def __str__(self) -> str:
        return self.__repr__()

    def __reduce__(self) -> tuple[type[BaseID], tuple[bytes]]:
        return type(self), (self._binary,)


class UniqueID(BaseID):
    """An id of something without an id class of its own."""

    __slots__ = ()
    SIZE = OBJECT_ID_BYTES


class TaskID(BaseID):
    """The id of a task: that of its first result, without the last four bytes."""

    __slots__ = ()
    SIZE = TASK_ID_BYTES


class ActorID(BaseID):
    """The id of an actor."""

    __slots__ = ()
    SIZE = ACTOR_ID_BYTES


class NodeID(UniqueID):
    """The id of a node."""

    __slots__ = ()


class WorkerID(UniqueID):
    """The id of a process: its address."""

    __slots__ = ()
    SIZE = 16


class PlacementGroupID(BaseID):
    """The id of a placement group."""

    __slots__ = ()
    SIZE = GROUP_ID_BYTES


def worker_id(address: Address) -> WorkerID:
    """The id of the process with this address."""
    return WorkerID(address.to_bytes(WorkerID.SIZE, "big"))


class FunctionID(UniqueID):
    """The id of an exported function: a hash of its pickle."""

    __slots__ = ()
    SIZE = 16


class ActorClassID(UniqueID):
    """The id of an exported actor class: a hash of its pickle."""

    __slots__ = ()
    SIZE = 16


class JobID(BaseID):
    """The id of a job: one driver program."""

    __slots__ = ()
    SIZE = 4

    @classmethod
    def from_int(cls, number: int) -> JobID:
        """The id of job `number`."""
        return cls(number.to_bytes(cls.SIZE, "little"))

    def int(self) -> int:
        """The job's number."""
        return int.from_bytes(self._binary, "little")


__all__ = [
    "ActorClassID",
    "ActorID",
    "BaseID",
    "FunctionID",
    "JobID",
    "NodeID",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
]
