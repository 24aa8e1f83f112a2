"""The life of one rank: what `rayhpc run` does on every node of an allocation.

Called by `cli.run`.  Examines the machine, determines its role, finds the others, and becomes rank
0 (`head_rank`), a further node (`node_rank`), or a rank that lends its share to its node's first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rayhpc.allocation.local_ranks import local_facts, merge_local_ranks
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import drain, failed_start, local_ranks, mpi_channel, node_config
from rayhpc.launch.channel import Channel
from rayhpc.launch.election import Role, elect
from rayhpc.launch.node_config import Place
from rayhpc.launch.progress import Progress
from rayhpc.launch.rendezvous import Rendezvous
from rayhpc.launch.run_context import RunContext, RunOptions
from rayhpc.launch.shared_directories import shared_directories
from rayhpc.launch.start_guard import StartGuard
from rayhpc.launch.startup import Startup
from rayhpc.launch.system_channel import SystemChannel
from rayhpc.machine.shared_uid import hide_memory
from rayhpc.machine.signals import Signals


def run(options: RunOptions, environ: Mapping[str, str]) -> int:
    """Run this rank until everything is over; returns the exit code.

    Raises:
        LaunchError: the rank failed; carries the exit code for the cause.
    """
    with Signals() as signals:
        startup = Startup(signals, time.monotonic() + options.start_timeout_s)
        place = node_config.look_around(environ, rank=options.rank, size=options.size)
        if place.system.shares_uid(environ):
            hide_memory()
        role = elect(place.allocation)
        channel = _channel(options, place, role, environ)
        if isinstance(channel, mpi_channel.MpiChannel):
            role = replace(role, nodes=channel.count_nodes(role.is_first_here))
        if place.allocation.launcher.value == "mpiexec":
            environ = mpi_channel.without_mpi(environ)
            options = replace(options, environ=mpi_channel.without_mpi(options.environ))
        _check_nodes(options, role)
        progress = Progress(
            role.nodes, quiet=options.quiet, rewrites=environ.get("RAYHPC_PROGRESS") != "0"
        )
        limits = drain.decide(options.drain_s, place.system, environ)
        guard = None
        if role.is_head and isinstance(channel, Rendezvous):
            guard = StartGuard(channel, place.machine.hostname)
        this = RunContext(
            options, dict(environ), place, role, channel, startup, progress, limits, guard
        )
        return _live(this)


def _live(this: RunContext) -> int:
    if not this.role.is_first_here:
        return _lend(this)
    if this.role.local_size == 1:
        return _be_node(this)
    first = local_ranks.FirstRank(this.role, this.environ)
    code = int(ExitCode.NODE_LOST)
    try:
        _gather(this, first)
        result = _be_node(this)
        # Only this rank reports the exit code; those that lent their share have succeeded.
        code = 0
    except LaunchError as error:
        code = error.code
        raise
    finally:
        first.release(code)
    return result


def _gather(this: RunContext, first: local_ranks.FirstRank) -> None:
    """Collect what the other ranks of this node lend."""
    try:
        given = first.gather(this.startup.left(), this.startup.pause)
        own = local_facts(this.place.machine, this.place.allocation)
        try:
            this.place = replace(this.place, local=merge_local_ranks([own, *given]))
        except ValueError as error:
            raise LaunchError(str(error), ExitCode.CONFIGURATION) from None
    except LaunchError as error:
        if this.role.is_head and this.channel is not None:
            this.channel.prepare()
        failed_start.tell(this, error)
        if this.guard is not None:
            this.guard.dismiss()
        raise


def _be_node(this: RunContext) -> int:
    if this.role.is_head:
        from rayhpc.launch.head_rank import HeadRank

        return HeadRank(this).run()
    from rayhpc.launch.node_rank import NodeRank

    return NodeRank(this).run()


def _lend(this: RunContext) -> int:
    """Lend this rank's share to the first rank of its node, and wait for the end."""
    facts = local_facts(this.place.machine, this.place.allocation)
    startup = this.startup
    connection = local_ranks.lend(this.role, this.environ, facts, startup.left(), startup.pause)
    with connection:
        if isinstance(this.channel, mpi_channel.MpiChannel):
            this.channel.wait(startup.left(), 0.0, startup.pause)
        return local_ranks.end_of(connection)


def _channel(
    options: RunOptions, place: Place, role: Role, environ: Mapping[str, str]
) -> Channel | None:
    """The channel by which the key gets from rank 0 to the others; None if there are no others.

    Raises:
        LaunchError: there is none.
    """
    if role.size == 1:
        return _growing(place, environ)
    if options.rendezvous is not None:
        return Rendezvous([Path(options.rendezvous).absolute()], role.name)
    launcher = place.allocation.launcher.value
    link = place.system.link(environ) if launcher != "explicit" else None
    if link is not None:
        return SystemChannel(link)
    if launcher == "mpiexec" and mpi_channel.is_available():
        return mpi_channel.MpiChannel()
    directories = list(dict.fromkeys(shared_directories(place.allocation, environ)))
    if launcher == "explicit" or not directories:
        raise LaunchError(
            f"{role.size} ranks need a directory to meet in: name one that all of them see with "
            "--rendezvous",
            ExitCode.CONFIGURATION,
        )
    return Rendezvous(directories, role.name)


def _growing(place: Place, environ: Mapping[str, str]) -> Channel | None:
    """The channel of a job that begins with one node and can become larger."""
    link = place.system.link(environ)
    return None if link is None or link.resizer() is None else SystemChannel(link)


def _check_nodes(options: RunOptions, role: Role) -> None:
    if options.nodes is not None and options.nodes != role.nodes:
        raise LaunchError(
            f"--nodes is {options.nodes}, but the launcher has started this on {role.nodes} "
            "node(s): ask the launcher for as many (srun --nodes, sbatch --nodes), or use "
            f"`rayhpc submit --nodes {options.nodes}`, which starts them",
            ExitCode.CONFIGURATION,
        )
    if role.is_head and options.elastic is not None and options.elastic < role.nodes:
        raise LaunchError(
            f"--elastic {options.elastic}, but this job has {role.nodes} node(s) already: give the "
            "number of nodes in all that it may grow to",
            ExitCode.CONFIGURATION,
        )
    wanted = options.min_nodes
    if wanted is not None and not 1 <= wanted <= role.nodes:
        raise LaunchError(
            f"--min-nodes is {wanted}, but this start has {role.nodes} node(s): give 1 to "
            f"{role.nodes}, or ask the launcher for more",
            ExitCode.CONFIGURATION,
        )
