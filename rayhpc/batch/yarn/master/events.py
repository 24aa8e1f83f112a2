"""The events of a gang, as `gang` receives them.

Containers are identified by the text of their ids; `now` is in seconds on any monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from rayhpc.batch.yarn.master.subjects import OfContainer, OfHost, OfRank


@dataclass(frozen=True)
class Allocated:
    """The ResourceManager has given us a container for the ask with that number."""

    container: str
    host: str
    ask: int


@dataclass(frozen=True)
class Inherited:
    """A container of an earlier attempt is still running; what runs in it has lost its head."""

    container: str
    host: str


class Started(OfContainer):
    """A container's process has been started."""


@dataclass(frozen=True)
class StartFailed:
    """A NodeManager could not start a container, or could not be reached."""

    container: str
    reason: str


@dataclass(frozen=True)
class Completed:
    """A container has ended; reported once."""

    container: str
    status: int
    diagnostics: str = ""


@dataclass(frozen=True)
class HeadReady:
    """Rank 0's head can be joined: containers may be started."""


@dataclass(frozen=True)
class Resized:
    """This many ranks are wanted from now on, including rank 0."""

    size: int


class RankAdded(OfRank):
    """The rank with that number is wanted, too; nothing if it ever was before."""


class RankRemoved(OfRank):
    """An added rank is no longer wanted: it is drained and its container given back."""


class RankCancelled(OfRank):
    """An added rank is no longer wanted, unless it has been started."""


class Drained(OfRank):
    """A rank that is to leave no longer has anything that others need."""


class HostUnusable(OfHost):
    """A node is unhealthy, lost, or about to be decommissioned."""


class HostUsable(OfHost):
    """A node serves again."""


@dataclass(frozen=True)
class ProgramEnded:
    """The program has ended, so all ranks are about to."""

    code: int


Event = (
    Allocated
    | Inherited
    | Started
    | StartFailed
    | Completed
    | HeadReady
    | Resized
    | RankAdded
    | RankRemoved
    | RankCancelled
    | Drained
    | HostUnusable
    | HostUsable
    | ProgramEnded
)
