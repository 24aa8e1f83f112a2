"""Ray's cluster YAML as types: the same names, defaults as in Ray.

Made by `read`; everything else in `clusters` takes these.  Lists that are left empty in the file
(`setup_commands:` with nothing after it) are empty here.
"""

from __future__ import annotations

from typing import Any

import msgspec

# What a provider's own node type is called if the file has none.
HEAD_TYPE = "ray.head.default"
WORKER_TYPE = "ray.worker.default"


class Auth(msgspec.Struct, frozen=True, kw_only=True):
    """How to log in; what is left out is as the user's ~/.ssh/config has it."""

    ssh_user: str | None = None
    ssh_private_key: str | None = None
    ssh_public_key: str | None = None
    ssh_proxy_command: str | None = None


class Docker(msgspec.Struct, frozen=True, kw_only=True):
    """Containers: accepted, without effect on the providers that are served."""

    image: str | None = None
    container_name: str | None = None
    pull_before_run: bool | None = None
    run_options: list[str] | None = None
    head_image: str | None = None
    head_run_options: list[str] | None = None
    worker_image: str | None = None
    worker_run_options: list[str] | None = None
    disable_automatic_runtime_detection: bool | None = None
    disable_shm_size_detection: bool | None = None
    use_podman: bool | None = None


class NodeTypeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One of `available_node_types`.

    `worker_setup_commands`, if given, replaces the file's own for nodes of this type, as in Ray;
    `max_workers` None: as many as the cluster may have.
    """

    node_config: dict[str, Any] = {}
    resources: dict[str, float] = {}
    labels: dict[str, str] = {}
    min_workers: int = 0
    max_workers: int | None = None
    idle_timeout_s: float | None = None
    priority: int | None = None
    initialization_commands: list[str] | None = None
    worker_setup_commands: list[str] | None = None
    docker: Docker | None = None


class ClusterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster's YAML.

    Paths of `file_mounts` map the place on the nodes to the one on this machine.  `provider` is
    the provider's own to read.  `min_workers` is only for lists of machines (`local`, `ssh`).
    """

    cluster_name: str
    provider: dict[str, Any]
    max_workers: int | None = None
    min_workers: int | None = None
    upscaling_speed: float = 1.0
    idle_timeout_minutes: float = 5.0
    docker: Docker = Docker()
    auth: Auth = Auth()
    available_node_types: dict[str, NodeTypeConfig] = {}
    head_node_type: str | None = None
    file_mounts: dict[str, str] = {}
    cluster_synced_files: list[str] = []
    file_mounts_sync_continuously: bool = False
    rsync_exclude: list[str] = []
    rsync_filter: list[str] = []
    initialization_commands: list[str] = []
    setup_commands: list[str] = []
    head_setup_commands: list[str] = []
    worker_setup_commands: list[str] = []
    head_start_ray_commands: list[str] = []
    worker_start_ray_commands: list[str] = []
    metadata: dict[str, Any] = {}

    @property
    def provider_type(self) -> str:
        """As in `provider: {type: …}`."""
        return str(self.provider["type"])
