"""What `gang` wants done.  Each is an order to `loop`, none waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ask:
    """Ask for `count` containers under a number that was never used before."""

    number: int
    count: int


@dataclass(frozen=True)
class Cancel:
    """Take back what is open of an ask."""

    number: int


@dataclass(frozen=True)
class Release:
    """Give a container back; what runs in it is ended within 250 ms."""

    container: str


@dataclass(frozen=True)
class Avoid:
    """Take no containers on a host."""

    host: str


@dataclass(frozen=True)
class Readmit:
    """Take containers on a host again."""

    host: str


@dataclass(frozen=True)
class Launch:
    """Start a rank in a container; `again`: in place of an earlier attempt's."""

    container: str
    rank: int
    host: str
    again: bool = False


@dataclass(frozen=True)
class Drain:
    """Let a rank's work and objects move elsewhere; `Drained` says when that is done."""

    rank: int


@dataclass(frozen=True)
class Say:
    """Tell the user."""

    text: str


@dataclass(frozen=True)
class Fail:
    """There is no way to the wanted ranks: end the application."""

    reason: str


Action = Ask | Cancel | Release | Avoid | Readmit | Launch | Drain | Say | Fail
