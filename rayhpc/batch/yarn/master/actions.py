"""What `gang` wants done.  Each is an order to `loop`; none waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass

from rayhpc.batch.yarn.master.subjects import OfContainer, OfHost, OfRank


@dataclass(frozen=True)
class Ask:
    """Ask for `count` containers under a number never used before."""

    number: int
    count: int


@dataclass(frozen=True)
class Cancel:
    """Take back the open part of an ask."""

    number: int


class Release(OfContainer):
    """Release a container; what runs in it is ended within 250 ms."""


class Avoid(OfHost):
    """Accept no containers on a host."""


class Readmit(OfHost):
    """Accept containers on a host again."""


@dataclass(frozen=True)
class Launch:
    """Start a rank in a container; `again`: replacing an earlier attempt's."""

    container: str
    rank: int
    host: str
    again: bool = False


class Drain(OfRank):
    """Move a rank's work and objects elsewhere; `Drained` reports when that is done."""


@dataclass(frozen=True)
class Say:
    """Tell the user."""

    text: str


@dataclass(frozen=True)
class Fail:
    """The wanted ranks cannot be had: end the application."""

    reason: str


Action = Ask | Cancel | Release | Avoid | Readmit | Launch | Drain | Say | Fail
