"""The real Ray as engine: a rank's side of the process that runs its Ray node (`ray_node`).

Used by the ranks through `engine.Engine`.  Neither imports Ray nor connects to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rayhpc.exit_codes import LaunchError
from rayhpc.launch import node_config
from rayhpc.launch.engines import ray_install, ray_plan
from rayhpc.launch.engines.engine import REAL_RAY, Joined
from rayhpc.launch.engines.ray_plan import RayPlan
from rayhpc.launch.rendezvous import Record
from rayhpc.launch.spawn import NodeProcess, Wait
from rayhpc.machine.processes import readable
from rayhpc.wire.keys import ClusterKey

if TYPE_CHECKING:
    from rayhpc.batch.system import Resizer
    from rayhpc.launch.elastic import Growing
    from rayhpc.launch.run_context import RunContext


class RealRay:
    """One node of the real Ray, as an `engine.Engine`.

    Raises:
        LaunchError: no Ray is installed that can be started.
    """

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._process = _RayNodeProcess(run.environ)
        self._plan: RayPlan | None = None
        self._said = b""
        self._address = ""
        self._joined = {run.role.node}
        self._lost: list[str] = []

    def start_head(self) -> Record:
        """Start Ray's head, and our listener that tells the other ranks about it."""
        cluster = node_config.new_cluster()
        plan = ray_plan.make_head_plan(self._run, self._install(), cluster)
        self._start(plan)
        said = self._process.said
        self._address = said["address"]
        endpoints = [(ip, port) for ip, port in said["endpoints"]]
        key = ClusterKey(
            cluster_id=cluster.key.cluster_id,
            node=cluster.key.node,
            head_public=cluster.key.head_public,
            head_endpoints=endpoints,
        )
        return Record(key=key, engine=REAL_RAY)

    def join(self, record: Record) -> None:
        """Start a Ray node that joins the head named by rank 0."""
        assert record.key is not None
        self._start(ray_plan.make_plan(self._run, self._install(), record.key))

    def address(self) -> str:
        """The address of Ray's head, in the form of RAY_ADDRESS."""
        return self._address

    @contextmanager
    def watch(self) -> Iterator[Callable[[], Joined]]:
        """What the nodes report to rank 0."""

        def joined() -> Joined:
            self._listen()
            return Joined(frozenset(self._joined))

        yield joined

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with RAY_ADDRESS and the path of the token."""
        assert self._plan is not None
        this = self._run
        gpus = node_config.size_of(this.place, this.options.node).gpus.value
        found = ray_plan.with_names_of_ray(ray_plan.without_clusters(environ), gpus)
        found = ray_plan.with_token(found, self._plan.token_file)
        return {**found, "RAY_ADDRESS": self._address}

    def resize_with(self, resizer: Resizer) -> None:
        """Do nothing: a job of this engine keeps its size."""

    def grow(self, record: Record) -> Growing | None:
        """Refused before anything starts."""
        return None

    def losses(self) -> list[str]:
        """What lost nodes said last, or that they fell silent."""
        self._listen()
        return list(self._lost)

    def session_dir(self) -> str:
        """Empty: Ray's own dashboard shows what its clusters do."""
        return ""

    def poll(self) -> int | None:
        """The exit code of the process that runs the node."""
        return self._process.poll()

    def stop(self) -> int:
        """End the node, and on rank 0 the cluster."""
        return self._process.stop()

    def _install(self) -> ray_install.RayInstall:
        options = self._run.options
        try:
            return ray_install.find(options.command, options.environ)
        except LaunchError:
            self._process.stop()
            raise

    def _start(self, plan: RayPlan) -> None:
        self._plan = plan
        self._process.send(plan)
        startup = self._run.startup
        self._process.wait_ready(startup.left(), startup.pause)

    def _listen(self) -> None:
        """Read what the process has reported since: who has joined, who is lost."""
        output = self._process.output
        while output is not None and readable(output, 0.0):
            data = os.read(output, 1 << 16)
            if not data:
                return
            self._said += data
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, said: dict[str, Any]) -> None:
        if "joined" in said:
            self._joined.add(said["joined"])
        elif "lost" in said:
            self._joined.discard(said["lost"])
            self._lost.append(f"node {said['host']} was lost: {said['why']}")


class _RayNodeProcess(NodeProcess):
    """The process of `ray_node`, which reports more than that it serves.

    Attributes:
        said: what it reported when it was ready.
    """

    _MODULE = "rayhpc.launch.engines.ray_node"

    def __init__(self, environ: dict[str, str]) -> None:
        super().__init__(environ=environ)
        self.said: dict[str, Any] = {}

    @property
    def output(self) -> int | None:
        """The pipe for further reports; None: it has been stopped."""
        out = self._process.stdout
        return None if out is None or out.closed else out.fileno()

    def _hear(self, timeout_s: float, wait: Wait) -> dict[str, Any]:
        self.said = super()._hear(timeout_s, wait)
        return self.said

    def _give_up(self) -> None:
        """Give it time to end its children and to report their last output."""
        self._hang_up()
