"""How an elastic cluster's loop leaves its word in the head's key-value store, and programs theirs.

Written by `elastic.loop`, shown by `rayhpc status`; `api.session.size` writes the floor.
"""

import msgspec

ELASTIC_SPACE = "rayhpc.elastic"
#: What the planner remembers, for whoever goes on after it.
STATE_KEY = b"state"
#: An `ElasticStatus`.
STATUS_KEY = b"status"
#: Set by programs: the resources, in units of 1/10000, that are to have room in any case.
FLOOR_KEY = b"floor"
#: Set by `rayhpc resume`: names of node types, as JSON, whose trouble is over; the loop removes it.
RESUME_KEY = b"resume"


#: A list of `Moment`, as JSON.
HISTORY_KEY = b"history"


class Moment(msgspec.Struct, frozen=True, array_like=True):
    """A cluster that grows at one moment, in seconds since 1970.

    `nodes` are up, the head's own included, `coming` machines are asked for or starting, `waiting`
    tasks and actors find no room.
    """

    at: float
    nodes: int
    coming: int
    waiting: int

    def figures(self) -> tuple[int, int, int]:
        """All but the time."""
        return self.nodes, self.coming, self.waiting


class ElasticStatus(msgspec.Struct):
    """What is asked for, coming and idle, and why no more is asked for.

    `at` is when, in seconds since 1970; each line is a sentence and what of it changes with time.
    `types` has for each node type how many nodes of it are up, how many machines in all exist or
    are asked for, the least and the most.
    """

    at: float
    lines: list[tuple[str, str]]
    types: dict[str, tuple[int, int, int, int]]
