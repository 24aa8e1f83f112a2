"""The stages of a machine's set-up, in Ray's order, and the hash of each.

Called by `launcher`.  Reads the files that are to be copied, to hash their contents: a file that
was only touched changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from rayhpc.clusters.hosts import Host
from rayhpc.clusters.ignored import RENTED
from rayhpc.clusters.install import install_command
from rayhpc.clusters.patterns import Patterns
from rayhpc.clusters.plan import Prints
from rayhpc.clusters.schema import ClusterConfig, NodeTypeConfig
from rayhpc.clusters.transfer import Mount, digest

_HEAD_START = ("ray stop", "ray start --head --port=6379")
_WORKER_START = ("ray stop", "ray start --address=$RAY_HEAD_IP:6379")


@dataclass(frozen=True)
class Stages:
    """What is done on one machine: these commands, with the files copied after the first list."""

    initialization: tuple[str, ...]
    mounts: tuple[Mount, ...]
    setup: tuple[str, ...]
    start: tuple[str, ...]


def stages_of(config: ClusterConfig, host: Host) -> Stages:
    """The stages of a machine.

    A node type's `worker_setup_commands` replace the file's `setup_commands` and
    `worker_setup_commands`, as in Ray.
    """
    kind = config.available_node_types.get(host.node_type, NodeTypeConfig())
    initialization = kind.initialization_commands
    if initialization is None:
        initialization = config.initialization_commands
    if host.is_head:
        setup = [*config.setup_commands, *config.head_setup_commands]
    elif kind.worker_setup_commands is not None:
        setup = kind.worker_setup_commands
    else:
        setup = [*config.setup_commands, *config.worker_setup_commands]
    if config.provider_type in RENTED:
        setup = [*setup, install_command()]
    start: Sequence[str] = config.worker_start_ray_commands or _WORKER_START
    if host.is_head:
        start = config.head_start_ray_commands or _HEAD_START
    mounts = tuple(Mount(theirs, ours) for theirs, ours in config.file_mounts.items())
    return Stages(tuple(initialization), mounts, tuple(setup), tuple(start))


def prints_of(stages: Stages, host: Host, patterns: Patterns) -> Prints:
    """The hashes of a machine's stages.  Raises OSError for a file that cannot be read."""
    return Prints(
        files=_hash([[each.theirs, digest(each, patterns)] for each in stages.mounts]),
        setup=_hash([stages.initialization, stages.setup]),
        start=_hash([stages.start, dict(host.resources), dict(host.labels)]),
    )


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
