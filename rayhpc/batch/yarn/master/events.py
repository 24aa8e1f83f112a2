"""What happens to a gang, as `gang` is told.

Containers go by the text of their ids; `now` is in seconds of any clock that does not go back.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Allocated:
    """The ResourceManager has given us a container for the ask of that number."""

    container: str
    host: str
    ask: int


@dataclass(frozen=True)
class Inherited:
    """A container of an earlier attempt still runs; what runs in it has lost its head."""

    container: str
    host: str


@dataclass(frozen=True)
class Started:
    """A container's process has been started."""

    container: str


@dataclass(frozen=True)
class StartFailed:
    """A NodeManager could not start a container, or could not be reached."""

    container: str
    reason: str


@dataclass(frozen=True)
class Completed:
    """A container has ended; told once."""

    container: str
    status: int
    diagnostics: str = ""


@dataclass(frozen=True)
class HeadReady:
    """Rank 0's head can be joined: containers may be started."""


@dataclass(frozen=True)
class Resized:
    """So many ranks are wanted from now on, rank 0 included."""

    size: int


@dataclass(frozen=True)
class Drained:
    """A rank that was to leave has nothing any more that others need."""

    rank: int


@dataclass(frozen=True)
class HostUnusable:
    """A node is unhealthy, lost, or about to be decommissioned."""

    host: str


@dataclass(frozen=True)
class HostUsable:
    """A node serves again."""

    host: str


@dataclass(frozen=True)
class ProgramEnded:
    """The program has ended, so that all ranks are about to."""

    code: int


Event = (
    Allocated
    | Inherited
    | Started
    | StartFailed
    | Completed
    | HeadReady
    | Resized
    | Drained
    | HostUnusable
    | HostUsable
    | ProgramEnded
)
