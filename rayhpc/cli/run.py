"""`rayhpc run`: what a launcher starts on every node, and the shortest way on one machine."""

from __future__ import annotations

import os
import sys

import click

from rayhpc.cli.node_options import node_options
from rayhpc.cli.option_types import Seconds, Whole
from rayhpc.launch.engines.engine import NAMES, OWN, REAL_RAY
from rayhpc.launch.options import NodeOptions


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option(
    "--nodes", type=click.IntRange(min=1), help="Refuse to start with any other number of nodes."
)
@click.option("--rank", type=Whole(), help="This rank's number, from 0 (with --size).")
@click.option("--size", type=Whole(), help="The number of ranks (with --rank).")
@click.option(
    "--rendezvous",
    type=click.Path(),
    metavar="DIR",
    help="A directory visible to all ranks, where they find each other.",
)
@click.option("--min-nodes", type=Whole(), help="Start once so many nodes are up (default: all).")
@click.option(
    "--start-timeout",
    type=Seconds(zero=False),
    default=120.0,
    show_default=True,
    help="Seconds within which they must be ready.",
)
@click.option(
    "--drain",
    type=Seconds(zero=True),
    help="Seconds the program may continue after the job is told to end; default: 25, or less if "
    "the batch system kills sooner.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The head's port.")
@node_options
@click.option(
    "--as-ray/--no-as-ray",
    default=None,
    help="Serve `import ray` (default: if the real Ray is not installed).",
)
@click.option(
    "--engine",
    type=click.Choice(NAMES),
    default=OWN,
    show_default=True,
    help="What runs the cluster: rayhpc's own runtime, or the installed Ray.",
)
@click.option(
    "--elastic",
    type=Whole(),
    metavar="NODES",
    help="Grow up to so many nodes in all as work waits, by asking the batch system for more, and "
    "shrink when they are idle.",
)
@click.option(
    "--idle-timeout",
    type=Seconds(zero=True),
    default=60.0,
    show_default=True,
    help="Seconds after which an added node that is idle is given back (with --elastic).",
)
@click.option("--growth", hidden=True, help="How a cluster of `rayhpc up` grows: its file.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False),
    help="Write a report of the program there, however short it was (default: into the job's "
    "folder, if the program ran longer than a minute).",
)
@click.option("--no-report", is_flag=True, help="Write no report and record nothing for one.")
@click.option("--quiet", is_flag=True, help="Print only errors.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(
    nodes: int | None,
    rank: int | None,
    size: int | None,
    rendezvous: str | None,
    min_nodes: int | None,
    start_timeout: float,
    drain: float | None,
    port: int,
    node: NodeOptions,
    as_ray: bool | None,
    engine: str,
    elastic: int | None,
    idle_timeout: float,
    growth: str | None,
    report: str | None,
    no_report: bool,
    quiet: bool,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND on a cluster formed by all ranks that a launcher has started.

    Every rank runs the same line: `srun rayhpc run -- python train.py`.  Rank 0 becomes the head,
    runs the command once all nodes are ready, and exits with its exit code.  Without a launcher the
    cluster is this machine; without a command it is there to be attached to.
    """
    from rayhpc.batch.detect import around

    if report and no_report:
        raise click.UsageError("--report and --no-report: give one.")
    if engine == REAL_RAY:
        if elastic is not None:
            raise click.UsageError("--elastic is for rayhpc's own runtime, not for --engine ray.")
        if as_ray:
            raise click.UsageError("--engine ray and --as-ray exclude each other: give only one.")
        as_ray = False
    if rank is None and size is None:
        # As many nodes as requested, not all that the allocation has.
        step = around(os.environ).step_command(os.environ, _this_command(), nodes)
        if step is not None:
            os.execvp(step[0], step)
    from rayhpc.compat import shim
    from rayhpc.launch.run import run as run_rank
    from rayhpc.launch.run_context import RunOptions

    options = RunOptions(
        command=command,
        environ=shim.environment(os.environ, as_ray),
        node=node,
        rank=rank,
        size=size,
        rendezvous=rendezvous,
        nodes=nodes,
        min_nodes=min_nodes,
        start_timeout_s=start_timeout,
        drain_s=drain,
        port=port,
        quiet=quiet,
        engine=engine,
        elastic=elastic,
        idle_timeout_s=idle_timeout,
        growth=growth,
        report=os.path.abspath(report) if report else None,
        records=not no_report,
    )
    return _leave(run_rank(options, os.environ))


def _leave(code: int) -> int:
    """Exit at once: tearing down an interpreter costs 64 ranks a second.

    MPI must be finalized, which happens on a normal exit.
    """
    if "mpi4py" in sys.modules:
        return code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _this_command() -> list[str]:
    """The words that run this same command again on another node."""
    script = os.path.abspath(sys.argv[0])
    if script.endswith(".py") or not os.access(script, os.X_OK):
        return [sys.executable, "-m", "rayhpc.cli.main", *sys.argv[1:]]
    return [script, *sys.argv[1:]]
