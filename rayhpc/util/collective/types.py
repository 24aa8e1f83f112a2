"""Types of collective operations: how values are reduced, and the backend.

Used by programs and by the other modules here.
"""

from __future__ import annotations

import enum


class ReduceOp(enum.Enum):
    """How the members' values are combined."""

    SUM = 0
    PRODUCT = 1
    MIN = 2
    MAX = 3


class Backend:
    """The transport: the name makes no difference here, it is always the object store.

    Raises:
        ValueError: a name that Ray does not have.
        RuntimeError: "mpi", which Ray does not have either.
    """

    NCCL = "nccl"
    GLOO = "gloo"
    TORCH_GLOO = "torch_gloo"
    MPI = "mpi"
    UNRECOGNIZED = "unrecognized"

    def __new__(cls, name: str) -> str:  # type: ignore[misc]
        """The backend's name in lower case."""
        found: str = getattr(cls, str(name).upper(), cls.UNRECOGNIZED)
        if found == cls.UNRECOGNIZED:
            raise ValueError(f"Unrecognized backend: {name!r}. Valid ones: nccl, gloo, torch_gloo.")
        if found == cls.MPI:
            raise RuntimeError("Ray does not support MPI backend: use mpi4py itself in the actors.")
        return found
