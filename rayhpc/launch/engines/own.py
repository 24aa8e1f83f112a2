"""Our own runtime as engine: a raylet on every node, the head beside that of rank 0.

Used by the ranks through `engine.Engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rayhpc.launch import mpi_channel, node_config
from rayhpc.launch.engines.engine import Joined
from rayhpc.launch.missing import lost_nodes, skewed_clocks
from rayhpc.launch.rendezvous import Record
from rayhpc.launch.sessions import SessionRecord
from rayhpc.launch.spawn import NodeProcess
from rayhpc.machine import shared_uid

if TYPE_CHECKING:
    from rayhpc.batch.system import Resizer
    from rayhpc.launch.elastic import Growing
    from rayhpc.launch.run_context import RunContext


class OwnEngine:
    """One node of our runtime, as an `engine.Engine`."""

    def __init__(self, run: RunContext) -> None:
        # MPI has threads of its own, which do not survive a fork.
        with_mpi = isinstance(run.channel, mpi_channel.MpiChannel)
        self._run = run
        self._node = NodeProcess(environ=run.environ, forked=not with_mpi)
        self._session: SessionRecord | None = None

    def start_head(self) -> Record:
        """Start the raylet and the head."""
        this = self._run
        cluster = node_config.new_cluster()
        plan = node_config.make_plan(
            this.place,
            this.options.node,
            cluster.key,
            kind="run",
            head=cluster.head,
            head_port=this.options.port,
            rank=this.role.node,
            logs_to=this.log_folder,
        )
        self._node.send(plan)
        self._node.wait_ready(this.startup.left(), this.startup.pause)
        self._session = self._node.record()
        return Record(key=self._session.completed(cluster.key))

    def join(self, record: Record) -> None:
        """Start a raylet that joins the head named in the record."""
        this = self._run
        assert record.key is not None
        plan = node_config.make_plan(
            this.place,
            this.options.node,
            record.key,
            kind="run",
            rank=this.role.node,
            logs_to=this.log_folder,
        )
        self._node.send(plan)
        self._node.wait_ready(this.startup.left(), this.startup.pause)

    def address(self) -> str:
        """The head's address, in the form of RAYHPC_ADDRESS."""
        return self._here().address

    @contextmanager
    def watch(self) -> Iterator[Callable[[], Joined]]:
        """Ask the head, through this node's raylet."""
        from rayhpc.launch.observer import Observer

        with Observer(self._here().session_dir) as observer:

            def joined() -> Joined:
                alive = [each for each in observer.nodes() if each.alive]
                numbers = frozenset(each.info.rank for each in alive)
                return Joined(numbers, tuple(skewed_clocks(alive)))

            yield joined

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with RAYHPC_ADDRESS."""
        place = self._run.place
        marks = {shared_uid.VARIABLE: "1"} if place.system.shares_uid(place.environ) else {}
        return {**environ, **marks, "RAYHPC_ADDRESS": self.address()}

    def resize_with(self, resizer: Resizer) -> None:
        """Start a thread that passes on the programs' requests (`resizing`)."""
        from rayhpc.launch.resizing import Resizing
        from rayhpc.wire.messages.size import Unit

        unit, options = None, self._run.options
        if options.elastic is None and options.growth is None:  # else requests are for the planner
            size = node_config.size_of(self._run.place, self._run.options.node)
            unit = Unit(size.cpus.value, len(size.gpus.value))
        Resizing(self._here().session_dir, resizer, unit)

    def grow(self, record: Record) -> Growing | None:
        """Start a thread that asks the batch system for nodes (`elastic`)."""
        if self._run.options.elastic is None and self._run.options.growth is None:
            return None
        from rayhpc.launch.elastic import Growing

        assert record.key is not None
        return Growing(self._run, self.session_dir(), self.address(), record.key)

    def losses(self) -> list[str]:
        """What the head says about nodes that are gone."""
        return lost_nodes(self._here().session_dir)

    def session_dir(self) -> str:
        """This node's session."""
        return self._here().session_dir

    def poll(self) -> int | None:
        """The raylet's exit code."""
        return self._node.poll()

    def stop(self) -> int:
        """End the raylet, and on rank 0 the head with it."""
        return self._node.stop()

    def _here(self) -> SessionRecord:
        assert self._session is not None
        return self._session
