"""The life of one rank: what `rayhpc run` does on every node of an allocation.

Called by `cli.run`.  Looks around, learns its part, finds the others, and becomes rank 0
(`head_rank`), a further node (`node_rank`), or a rank that lends its share to the node it is on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.local_ranks import local_facts, merge_local_ranks
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import drain, local_ranks, mpi_channel, node_config
from rayhpc.launch.channel import Channel
from rayhpc.launch.drain import Drain
from rayhpc.launch.election import Role, elect
from rayhpc.launch.node_config import Place
from rayhpc.launch.options import NodeOptions
from rayhpc.launch.progress import Progress
from rayhpc.launch.rendezvous import FOLDER, Rendezvous
from rayhpc.launch.startup import Startup
from rayhpc.machine.signals import Signals

if TYPE_CHECKING:
    from rayhpc.launch.spawn import NodeProcess

JOB_FOLDER = "RAYHPC_JOB_DIR"


@dataclass(frozen=True)
class RunOptions:
    """What the user says about a run; times in seconds.

    `environ` is the program's environment.  `drain_s` is how long it may go on after the job was
    told to end; None: as the batch system allows.  No command: a cluster to attach to.
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


@dataclass
class Run:
    """What every part of a rank's life needs."""

    options: RunOptions
    environ: dict[str, str]
    place: Place
    role: Role
    channel: Channel | None
    startup: Startup
    progress: Progress
    drain: Drain

    def new_node(self) -> NodeProcess:
        """The process of this rank's node, before it has its plan."""
        from rayhpc.launch.spawn import NodeProcess

        # MPI has threads of its own, which no fork survives.
        with_mpi = isinstance(self.channel, mpi_channel.MpiChannel)
        return NodeProcess(environ=self.environ, forked=not with_mpi)

    @property
    def log_folder(self) -> str:
        """Where the node's logs go at the end; empty without a job's folder."""
        folder = self.environ.get(JOB_FOLDER, "")
        # The tasks of an array share the job's folder.
        task = self.place.system.array_task(self.environ)
        return os.path.join(folder, "nodes", task).rstrip("/") if folder else ""


def run(options: RunOptions, environ: Mapping[str, str]) -> int:
    """Be this rank until everything is over; returns the exit code.

    Raises:
        LaunchError: what prevented it, with the exit code of the cause.
    """
    with Signals() as signals:
        deadline = time.monotonic() + options.start_timeout_s
        place = node_config.look_around(environ, rank=options.rank, size=options.size)
        startup = Startup(signals, deadline, place.system.meaning)
        role = elect(place.allocation)
        channel = _channel(options, place.allocation, role, environ)
        if isinstance(channel, mpi_channel.MpiChannel):
            role = replace(role, nodes=channel.count_nodes(role.is_first_here))
        if place.allocation.launcher.value == "mpiexec":
            environ = mpi_channel.without_mpi(environ)
            options = replace(options, environ=mpi_channel.without_mpi(options.environ))
        _check_nodes(options, role)
        progress = Progress(role.nodes, quiet=options.quiet)
        limits = drain.decide(options.drain_s, place.system, environ)
        this = Run(options, dict(environ), place, role, channel, startup, progress, limits)
        return _live(this)


def _live(this: Run) -> int:
    if not this.role.is_first_here:
        return _lend(this)
    if this.role.local_size == 1:
        return _be_node(this)
    first = local_ranks.FirstRank(this.role, this.environ)
    code = int(ExitCode.NODE_LOST)
    try:
        given = first.gather(this.startup.left(), this.startup.pause)
        own = local_facts(this.place.machine, this.place.allocation)
        try:
            this.place = replace(this.place, local=merge_local_ranks([own, *given]))
        except ValueError as error:
            raise LaunchError(str(error), ExitCode.CONFIGURATION) from None
        result = _be_node(this)
        # The exit code is told by this rank alone: those that lent what they had have done well.
        code = 0
    except LaunchError as error:
        code = error.code
        raise
    finally:
        first.release(code)
    return result


def _be_node(this: Run) -> int:
    if this.role.is_head:
        from rayhpc.launch.head_rank import HeadRank

        return HeadRank(this).run()
    from rayhpc.launch.node_rank import NodeRank

    return NodeRank(this).run()


def _lend(this: Run) -> int:
    """Give what this rank has to the first rank of its node, and wait for the end."""
    facts = local_facts(this.place.machine, this.place.allocation)
    startup = this.startup
    connection = local_ranks.lend(this.role, this.environ, facts, startup.left(), startup.pause)
    with connection:
        if isinstance(this.channel, mpi_channel.MpiChannel):
            this.channel.wait(startup.left(), 0.0, startup.pause)
        return local_ranks.end_of(connection)


def _channel(
    options: RunOptions, allocation: Allocation, role: Role, environ: Mapping[str, str]
) -> Channel | None:
    """The way the key takes from rank 0 to the others; None where there are no others.

    Raises:
        LaunchError: there is none.
    """
    if role.size == 1:
        return None
    if options.rendezvous is not None:
        return Rendezvous([Path(options.rendezvous).absolute()], role.name)
    launcher = allocation.launcher.value
    if launcher == "mpiexec" and mpi_channel.is_available():
        return mpi_channel.MpiChannel()
    directories = list(dict.fromkeys(_shared_directories(allocation, environ)))
    if launcher == "explicit" or not directories:
        raise LaunchError(
            f"{role.size} ranks need a directory to meet in: name one that all of them see with "
            "--rendezvous",
            ExitCode.CONFIGURATION,
        )
    return Rendezvous(directories, role.name)


def _shared_directories(allocation: Allocation, environ: Mapping[str, str]) -> list[Path]:
    """Directories that the nodes of a job usually share; which they do is found out by looking."""
    if environ.get(JOB_FOLDER):
        return [Path(environ[JOB_FOLDER], "rendezvous").absolute()]
    if environ.get("RAYHPC_SHARED_DIR"):
        return [Path(environ["RAYHPC_SHARED_DIR"]).absolute() / FOLDER]
    named = [allocation.shared_dir.value, environ.get("HOME")]
    return [Path(each) / FOLDER for each in named if each and os.path.isdir(each)]


def _check_nodes(options: RunOptions, role: Role) -> None:
    if options.nodes is not None and options.nodes != role.nodes:
        raise LaunchError(
            f"--nodes is {options.nodes}, but the launcher has started this on {role.nodes} "
            "node(s): ask the launcher for as many (srun --nodes, sbatch --nodes), or use "
            f"`rayhpc submit --nodes {options.nodes}`, which starts them",
            ExitCode.CONFIGURATION,
        )
    wanted = options.min_nodes
    if wanted is not None and not 1 <= wanted <= role.nodes:
        raise LaunchError(
            f"--min-nodes is {wanted}, but this start has {role.nodes} node(s): give 1 to "
            f"{role.nodes}, or ask the launcher for more",
            ExitCode.CONFIGURATION,
        )
