"""One process of a cluster, composed of its parts.

Created by `driver` and `worker.main` with real sockets, and by the simulation with others.  Has no
methods: each part documents what it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.core import Core
from rayhpc.runtime.process.loop import Loop
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.process.role import Role
from rayhpc.runtime.process.sockets import Sockets
from rayhpc.store.mapping import Mapping
from rayhpc.wire.messages.start import Facts


class Process:
    """The parts of one driver or worker.

    Args:
        facts: who and where it is.
        mapping: its node's object store.
        sockets: what it sends and receives with, and who may touch it.
        now: the time in seconds, monotonic.

    Attributes:
        core: its tables and decisions; its role is a plain one until another is set.
        loop: serves them, and waits.
        objects: reads and writes objects.
        client: the API's interface to it.
    """

    def __init__(
        self,
        facts: Facts,
        mapping: Mapping,
        sockets: Sockets,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        transport = sockets.transport
        self.core = Core(facts, mapping, transport, now)
        self.loop = Loop(self.core, sockets)
        self.core.take_role(Role(self.loop))
        self.objects = Objects(self.core, self.loop)
        self.client = Client(self.core, self.loop, self.objects)
