"""Shared by the parts of a rank: the user's options, and what was found out at the start.

Created by `run`; read by `head_rank` and `node_rank`.  Decides nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from rayhpc.launch.channel import Channel
from rayhpc.launch.drain import Drain
from rayhpc.launch.election import Role
from rayhpc.launch.node_config import Place
from rayhpc.launch.options import NodeOptions
from rayhpc.launch.progress import Progress
from rayhpc.launch.start_guard import StartGuard
from rayhpc.launch.startup import Startup

JOB_FOLDER = "RAYHPC_JOB_DIR"


@dataclass(frozen=True)
class RunOptions:
    """The user's options for a run; times in seconds.

    `environ` is the program's environment.  `drain_s` is how long it may continue after the job is
    told to end; None: as the batch system allows.  No command: a cluster to attach to.  `engine`
    is what runs its nodes, one of `engines.engine.NAMES`.  `report` is where to write a report
    (None: the usual place), `records` whether to keep what the program did at all.  `elastic` is to
    how many nodes in all the cluster may grow (None: it keeps its size), `idle_timeout_s` after how
    long an added node that is idle is given back, `growth` a file that says instead how the cluster
    grows (`growth_file`).
    """

    command: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    node: NodeOptions = field(default_factory=NodeOptions)
    rank: int | None = None
    size: int | None = None
    rendezvous: str | None = None
    nodes: int | None = None
    min_nodes: int | None = None
    start_timeout_s: float = 120.0
    drain_s: float | None = None
    port: int = 0
    quiet: bool = False
    engine: str = "rayhpc"
    report: str | None = None
    records: bool = True
    elastic: int | None = None
    growth: str | None = None
    idle_timeout_s: float = 60.0


@dataclass
class RunContext:
    """What every part of a rank's life needs."""

    options: RunOptions
    environ: dict[str, str]
    place: Place
    role: Role
    channel: Channel | None
    startup: Startup
    progress: Progress
    drain: Drain
    guard: StartGuard | None = None

    @property
    def log_folder(self) -> str:
        """Where the node's logs are copied at the end; empty without a job's folder."""
        folder = self.environ.get(JOB_FOLDER, "")
        # The tasks of an array share the job's folder.
        task = self.place.system.array_task(self.environ)
        return os.path.join(folder, "nodes", task).rstrip("/") if folder else ""
