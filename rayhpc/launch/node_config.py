"""From options, machine and allocation to the plan of one node.

Called by whatever starts a node.  A pure function of its arguments, except for new ids and the
session's base directory; it starts nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.local_ranks import LocalFacts
from rayhpc.allocation.sizing import NodeSize, size_node
from rayhpc.batch.detect import around, detect
from rayhpc.batch.system import BatchSystem
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.head.config import HeadConfig
from rayhpc.launch import host_names, sessions
from rayhpc.launch.node_plan import NodePlan
from rayhpc.launch.options import NodeOptions, check_options, wrong
from rayhpc.machine import interfaces, processes, scratch
from rayhpc.machine.facts import MachineFacts, read_machine
from rayhpc.raylet.config import RUNS_KEPT, NodeConfig, new_node_id
from rayhpc.wire import keys
from rayhpc.wire.feasibility import END_LABEL
from rayhpc.wire.keys import ClusterKey, KeyPair
from rayhpc.wire.messages.common import UNIT, Resources

LOOPBACK = "127.0.0.1"
# The head's node has the listeners of the head and of its raylet, any other only its raylet's.
HEAD_LISTENERS = 2
RUNS_VARIABLE = "RAYHPC_TASK_RUNS"


@dataclass(frozen=True)
class Place:
    """Where a node is to run: this machine, and what the scheduler granted of it."""

    environ: Mapping[str, str]
    machine: MachineFacts
    system: BatchSystem
    allocation: Allocation
    local: LocalFacts | None = None

    @property
    def rank(self) -> int:
        """This node's rank in the allocation."""
        return self.allocation.rank.value

    @property
    def job(self) -> str:
        """The scheduler's job id, or empty."""
        return self.allocation.job_id.value or ""


@dataclass(frozen=True)
class Cluster:
    """A new cluster's secrets: the key that nodes join with, and the head's own key pair."""

    key: ClusterKey
    head: KeyPair


def look_around(
    environ: Mapping[str, str], *, rank: int | None = None, size: int | None = None
) -> Place:
    """Examine this machine and allocation.

    Raises:
        LaunchError: an invalid variable or option; the text names it.
    """
    machine = read_machine(environ)
    try:
        allocation = detect(environ, machine, rank=rank, size=size)
        return Place(environ, machine, around(environ), allocation)
    except ValueError as error:
        raise wrong(str(error)) from None


def new_cluster() -> Cluster:
    """New secrets for a cluster that is about to start."""
    head = keys.new_key_pair()
    key = ClusterKey(
        cluster_id=keys.new_cluster_id(),
        node=keys.new_key_pair(),
        head_public=head.public,
        head_endpoints=[],
    )
    return Cluster(key, head)


def size_of(place: Place, options: NodeOptions) -> NodeSize:
    """The node's size.  Raises LaunchError naming an invalid option."""
    try:
        return size_node(
            place.machine,
            place.allocation,
            place.local,
            num_cpus=options.num_cpus,
            num_gpus=options.num_gpus,
            memory=options.memory,
            object_store_memory=options.object_store_memory,
        )
    except ValueError as error:
        raise wrong(str(error)) from None


def make_plan(
    place: Place,
    options: NodeOptions,
    key: ClusterKey,
    *,
    kind: str,
    head: KeyPair | None = None,
    head_port: int = 0,
    tied: bool = True,
    rank: int | None = None,
    logs_to: str = "",
) -> NodePlan:
    """The plan of one node.

    Args:
        place: where it runs.
        options: what the user asked for.
        key: the cluster's key; on the head's node without endpoints, which are created there.
        kind: what starts it (`SessionRecord.kind`).
        head: the head's own key pair, if the head is to run on this node.
        head_port: the port the head is to listen on if it is free; 0: a free one.
        tied: the node ends with its starter.
        rank: the node's rank; None: that of the allocation.
        logs_to: where the logs are copied at the end; empty: nowhere.

    Raises:
        LaunchError: an invalid option, or no suitable directory.
    """
    check_options(options, listeners=HEAD_LISTENERS if head else 1)
    size = size_of(place, options)
    bind = addresses(options)
    base, link_from = bases(place, options)
    name = sessions.new_name(key.cluster_id)
    session_dir = str(base / name)
    node_rank = place.rank if rank is None else rank
    shared = place.system.shares_uid(place.environ)
    config = NodeConfig(
        session_dir=session_dir,
        cluster=key,
        node_ip=bind[0],
        bind=bind,
        ports=options.ports,
        hostname=options.node_name or place.machine.hostname,
        total=resources_of(size, options, bind[0], is_head=head is not None),
        store_bytes=size.object_store_memory.value,
        memory_limit=size.memory_limit,
        counts_shared=place.allocation.counts_shared.value,
        python=python_version(),
        version=rayhpc_version(),
        rank=node_rank,
        is_head=head is not None,
        node_id=new_node_id(),
        labels=_labels(place, options, node_rank),
        gpu_ids=list(size.gpus.value.ids),
        gpu_variable=size.gpus.value.variable,
        spill_dirs=_spill_directories(place, session_dir),
        runs_kept=_runs_kept(place.environ),
        ipc_key=keys.new_key_pair() if shared else None,
        attach_from=os.getsid(0) if shared else None,
        # The program runs on the head's node and submits from there first.
        prestart=2 if head is not None else 1,
    )
    return NodePlan(
        base=str(base),
        name=name,
        raylet=config,
        head=None if head is None else _head_config(config, key, head, head_port),
        kind=kind,
        launcher=_this_process() if kind == "run" else None,
        job=place.job,
        tied=tied,
        link_from=link_from,
        logs_to=logs_to,
        affinity=sorted(place.local.affinity) if place.local else [],
    )


def _runs_kept(environ: Mapping[str, str]) -> int:
    """How many finished tasks a node remembers."""
    told = environ.get(RUNS_VARIABLE, "")
    if not told:
        return RUNS_KEPT
    try:
        count = int(told.replace("_", "").replace(",", ""))
    except ValueError:
        count = 0
    if count < 1:
        raise wrong(f"{RUNS_VARIABLE}={told} is not a number of tasks (1 or more)")
    return count


def resources_of(size: NodeSize, options: NodeOptions, node_ip: str, *, is_head: bool) -> Resources:
    """The node's resources in units of 1/10000, including those that name it, as in Ray."""
    total = {
        "CPU": size.cpus.value * UNIT,
        "memory": size.task_memory * UNIT,
        "object_store_memory": size.object_store_memory.value * UNIT,
        f"node:{node_ip}": UNIT,
    }
    if len(size.gpus.value):
        total["GPU"] = len(size.gpus.value) * UNIT
    if is_head:
        total["node:__internal_head__"] = UNIT
    total.update({name: round(amount * UNIT) for name, amount in options.resources.items()})
    return total


def addresses(options: NodeOptions) -> list[str]:
    """The addresses to listen on, starting with the one that names the node.

    Raises:
        LaunchError: the machine has none of those that the user named.
    """
    option = "--node-ip-address" if options.node_ip else "--interface"
    there = interfaces.interfaces()
    try:
        chosen = interfaces.select(options.node_ip or options.interface, there)
    except ValueError as error:
        chosen = host_names.interfaces_of(options.node_ip, there) if options.node_ip else []
        if not chosen:
            raise wrong(f"{option}: {error}") from None
    return [each.address for each in chosen if each.kind != "link-local"] or [LOOPBACK]


def python_version() -> str:
    """This interpreter's major and minor version."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def rayhpc_version() -> str:
    """The version of this rayhpc."""
    import rayhpc

    return rayhpc.__version__


def _head_config(node: NodeConfig, key: ClusterKey, server: KeyPair, port: int) -> HeadConfig:
    return HeadConfig(
        cluster_id=key.cluster_id,
        server=server,
        node_public=key.node.public,
        bind=node.bind,
        port=port,
        ports=node.ports,
        session_dir=node.session_dir,
        version=node.version,
        python=node.python,
    )


def _this_process() -> tuple[int, int]:
    return os.getpid(), processes.start_time(os.getpid()) or 0


def bases(place: Place, options: NodeOptions) -> tuple[Path, str]:
    """Where the session is created, and where a link to it goes if that is an unusual place."""
    try:
        usual = scratch.session_base(place.environ)
        if options.session_dir is None:
            return usual, ""
        told = {scratch.VARIABLE: os.path.abspath(options.session_dir)}
        return scratch.session_base(told), str(usual)
    except OSError as error:
        message = str(error)
        if options.session_dir is not None:
            message = f"--session-dir: {message}"
        raise LaunchError(message, ExitCode.PERMISSION) from None


def _labels(place: Place, options: NodeOptions, rank: int) -> dict[str, str]:
    """What the scheduler says about the node, under rayhpc.io/, and the user's own labels."""
    allocation = place.allocation
    known = {
        "rayhpc.io/hostname": place.machine.hostname,
        "rayhpc.io/rank": str(rank),
        "rayhpc.io/scheduler": allocation.scheduler.value,
        "rayhpc.io/job": place.job,
        "rayhpc.io/component": _text(allocation.component.value),
        END_LABEL: _text(allocation.end_time.value),
    }
    given = place.system.labels(place.environ)
    return {**{key: value for key, value in known.items() if value}, **options.labels, **given}


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _spill_directories(place: Place, session_dir: str) -> list[str]:
    """Node-local disks for what does not fit into memory, best first."""
    found = scratch.spill_directories(place.environ)
    return [each.path for each in found if not each.memory] or [session_dir]
