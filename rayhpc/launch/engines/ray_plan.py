"""Everything that the process running a real Ray node is told, and where that comes from.

Created by `real_ray`, read by `ray_node`.  Contains secrets, so it goes through a pipe.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rayhpc.allocation.sizing import NodeSize
from rayhpc.launch import node_config, sessions
from rayhpc.launch.engines.ray_install import RayInstall
from rayhpc.launch.node_config import HEAD_LISTENERS, Cluster
from rayhpc.launch.options import check_options
from rayhpc.launch.run_context import RunContext
from rayhpc.machine.gpus import Gpus
from rayhpc.wire.keys import ClusterKey, KeyPair

# Ray refuses a smaller object store.
_SMALLEST_STORE = 80 << 20
_SHARED_MEMORY = "/dev/shm"
# What other uses of shared memory need beside the object store.
_SHARE_OF_SHARED_MEMORY = 0.95
_HIP, _ROCR = "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"


class RayPlan(msgspec.Struct, kw_only=True):
    """One node of a Ray cluster.

    Args:
        base: the private directory in which the session's own one is made.
        name: the name of that one.
        node: the node's number.
        host: its host name.
        bind: the addresses to listen on, the one that names the node first.
        ports: first and last port of our own listener, if that is bounded.
        port: the port of Ray's head; 0: a free one.
        key: how the nodes find and trust rank 0's; without endpoints on rank 0.
        server: rank 0's own key pair; None elsewhere.
        token: Ray's token; made by rank 0, empty elsewhere.
        install: which Ray.
        words: the options of `ray start` that are the same on rank 0 and elsewhere.
        environ: the environment of Ray's processes.
        folder: their working directory.
        affinity: the processors to run on (empty: leave it).
        logs_to: a directory to which the node's logs are copied at its end (empty: none).
        python_path: not used; who starts a node process sets it.
    """

    base: str
    name: str
    node: int
    host: str
    bind: list[str]
    ports: tuple[int, int] | None
    port: int
    key: ClusterKey
    server: KeyPair | None
    token: str
    install: RayInstall
    words: list[str]
    environ: dict[str, str]
    folder: str
    affinity: list[int]
    logs_to: str
    tied: bool = True
    python_path: str | None = None

    @property
    def path(self) -> Path:
        """The session's directory."""
        return Path(self.base, self.name)

    @property
    def token_file(self) -> str:
        """Where Ray reads its token."""
        return os.path.join(self.base, self.name, "token")


def make_plan(run: RunContext, install: RayInstall, key: ClusterKey) -> RayPlan:
    """The plan of a node that joins the cluster of `key`.

    Raises:
        LaunchError: an option is impossible, or no directory is suitable.
    """
    place, options = run.place, run.options.node
    check_options(options, listeners=HEAD_LISTENERS)
    size = node_config.size_of(place, options)
    bind = node_config.addresses(options)
    base, _ = node_config.bases(place, options)
    return RayPlan(
        base=str(base),
        name=sessions.new_name(key.cluster_id),
        node=run.role.node,
        host=place.machine.hostname,
        bind=bind,
        ports=options.ports,
        port=run.options.port,
        key=key,
        server=None,
        token="",
        install=install,
        words=_words(run, size, bind[0]),
        environ=_environ(run.options.environ, size),
        folder=os.getcwd(),
        affinity=sorted(place.local.affinity) if place.local else [],
        logs_to=run.log_folder,
    )


def make_head_plan(run: RunContext, install: RayInstall, cluster: Cluster) -> RayPlan:
    """The plan of rank 0's node.  Raises LaunchError as `make_plan` does."""
    plan = make_plan(run, install, cluster.key)
    plan.server = cluster.head
    plan.token = secrets.token_hex(32)
    return plan


def _words(run: RunContext, size: NodeSize, ip: str) -> list[str]:
    options = run.options.node
    words = {
        "--node-ip-address": ip,
        "--node-name": f"{run.place.machine.hostname}-{run.role.node}",
        "--num-cpus": size.cpus.value,
        "--num-gpus": len(size.gpus.value),
        "--memory": size.task_memory,
        "--object-store-memory": _store(size.object_store_memory.value),
        "--resources": json.dumps(dict(options.resources)),
        # 0 means a free one.
        "--node-manager-port": 0,
        "--object-manager-port": 0,
        "--min-worker-port": 0,
        "--max-worker-port": 0,
        "--dashboard-agent-listen-port": 0,
        "--dashboard-agent-grpc-port": 0,
        "--runtime-env-agent-port": 0,
        "--metrics-export-port": 0,
    }
    if options.labels:
        words["--labels"] = ",".join(f"{key}={value}" for key, value in options.labels.items())
    return [str(word) for pair in words.items() for word in pair]


def _store(wanted: int) -> int:
    """At most what fits into shared memory: otherwise Ray would put all of it on disk."""
    try:
        space = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return max(wanted, _SMALLEST_STORE)
    fits = int(space.f_bavail * space.f_frsize * _SHARE_OF_SHARED_MEMORY)
    return max(min(wanted, fits), _SMALLEST_STORE)


def _environ(environ: Mapping[str, str], size: NodeSize) -> dict[str, str]:
    """The environment of Ray's processes here: GPUs by their ids, nothing of other clusters."""
    found = without_clusters(environ)
    found["PYTHONUNBUFFERED"] = "1"
    if len(size.gpus.value):
        found[size.gpus.value.variable] = ",".join(size.gpus.value.ids)
    return with_names_of_ray(found, size.gpus.value)


def with_names_of_ray(environ: Mapping[str, str], gpus: Gpus) -> dict[str, str]:
    """`environ` with the GPUs in the variable that Ray reads.

    Ray refuses to start where ROCR_VISIBLE_DEVICES, which SLURM sets, selects AMD's GPUs; HIP
    takes the same ids.
    """
    found = dict(environ)
    if gpus.variable == _ROCR and _ROCR in found:
        found[_HIP] = found.pop(_ROCR)
    return found


def without_clusters(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what leads to another cluster, and with usage reports turned off."""
    others = ("RAY_ADDRESS", "RAYHPC_ADDRESS", "RAY_AUTH_TOKEN", "RAY_TMPDIR")
    kept = {name: value for name, value in environ.items() if name not in others}
    return {**kept, "RAYHPC_AS_RAY": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def with_token(environ: Mapping[str, str], token_file: str) -> dict[str, str]:
    """`environ` for a process that authenticates with the token in that file."""
    return {**environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token_file}
