"""One look at a running cluster: the typed snapshot that the live views are functions of.

Made by `launch.live_look`, read by `now`.
"""

from __future__ import annotations

from typing import NamedTuple

from rayhpc.observe.live.tally import Tally
from rayhpc.wire.messages.actors import ActorRow
from rayhpc.wire.messages.listings import ClusterState, JobRow, NodeHistory


class Look(NamedTuple):
    """The state of the cluster at one moment.

    Attributes:
        at: when, in seconds since 1970.
        address: the head's.
        state: nodes, resources, what is pending.
        actors: all actors that the head remembers.
        jobs: the programs that are or were attached.
        history: the nodes over time, if this look asked for them.
        tally: what has run so far; it goes on growing after the look.
        behind: how many nodes have runs that are not in the tally yet.
        time_limit: when the allocation ends, in seconds since 1970 (0: never, or unknown).
    """

    at: float
    address: str
    state: ClusterState
    actors: list[ActorRow]
    jobs: list[JobRow]
    history: list[NodeHistory]
    tally: Tally
    behind: int
    time_limit: float = 0.0
