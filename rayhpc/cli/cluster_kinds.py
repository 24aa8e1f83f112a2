"""Which commands serve a launched cluster: those for lists of machines, or another kind's own.

Used by every command for such clusters, after it knows which one is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol

from rayhpc.batch.errors import OptionError
from rayhpc.clusters.ignored import FIXED
from rayhpc.providers import registry

if TYPE_CHECKING:
    from rayhpc.cli.cluster_access import Cluster
    from rayhpc.clusters.plan import Wishes


class Verbs(Protocol):
    """The commands as one kind of cluster serves them; a module with these functions will do.

    Those that return a number return the command's exit code.  All raise LaunchError.
    """

    def up(self, cluster: Cluster, wishes: Wishes, *, dry_run: bool, yes: bool) -> int:
        """Create it, or bring it up to date."""

    def down(self, cluster: Cluster, *, workers_only: bool, keep: bool, yes: bool) -> int:
        """End it."""

    def show_status(self, cluster: Cluster, as_json: bool) -> int:
        """Show it."""

    def explain(self, cluster: Cluster, as_json: bool) -> int:
        """Say why it has no more nodes."""

    def resume(self, cluster: Cluster, node_type: str) -> int:
        """Have a paused node type asked for again."""

    def exec_on(
        self, cluster: Cluster, words: Sequence[str], switches: set[str], ports: Sequence[int]
    ) -> int:
        """Run a command on its head's machine."""

    def submit_to(self, cluster: Cluster, words: Sequence[str], switches: set[str]) -> int:
        """Run a script there."""

    def attach_to(
        self, cluster: Cluster, *, tmux: bool, screen: bool, ports: Sequence[int]
    ) -> NoReturn:
        """A shell there."""

    def follow_logs(self, cluster: Cluster, lines: int) -> NoReturn:
        """Its head's logs."""

    def rsync(self, cluster: Cluster, *, up: bool) -> int:
        """Files to it or from it."""

    def head_ip(self, cluster: Cluster) -> str:
        """Its head's address."""

    def worker_ips(self, cluster: Cluster) -> list[str]:
        """Its workers' addresses."""


def verbs_of(cluster: Cluster) -> Verbs | None:
    """The commands for a cluster; None: it is as a list of machines is, or nobody serves it."""
    kind = cluster.file.config.provider_type
    if kind in FIXED:
        return None
    try:
        found = registry.provider(kind)
    except OptionError:
        return None
    if found.name == "kubernetes":
        from rayhpc.cli import kubernetes_cluster

        return kubernetes_cluster
    if found.batch_system is None:
        return None
    from rayhpc.cli import batch_cluster

    return batch_cluster
