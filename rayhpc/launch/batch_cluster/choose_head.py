"""Where the head of such a cluster runs: in a batch job, on this machine, or on a login node.

Called by `cluster`.  `provider: {head: …}` in the cluster's YAML chooses.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import NodeType
from rayhpc.launch.batch_cluster.head import Head
from rayhpc.launch.batch_cluster.job_head import JobHead
from rayhpc.launch.batch_cluster.process_head import ProcessHead
from rayhpc.providers.base import ProviderKind


def head_of(
    options: Mapping[str, object], kind: ProviderKind, folder: Path, node_type: NodeType
) -> Head:
    """The head as the `provider` of a cluster's YAML wants it: in a job, unless it says otherwise.

    Args:
        options: what it says.
        kind: the provider.
        folder: the cluster's folder.
        node_type: the head's.

    Raises:
        OptionError: `head` is none of `job`, `here` and `{login: HOST}`, or not served there.
    """
    wish = options.get("head", "job")
    if wish == "job":
        assert kind.batch_system is not None
        return JobHead(folder, kind.batch_system, kind.job_fields(node_type))
    if kind.within_heads_job:
        raise OptionError(
            f"provider: head is {wish!r}, but with {kind.title} the head is the first part of the "
            "job that the workers are in: leave it out"
        )
    if wish == "here":
        return ProcessHead(folder)
    host = wish.get("login") if isinstance(wish, Mapping) and list(wish) == ["login"] else None
    if isinstance(host, str) and host.split() == [host] and not host.startswith("-"):
        return ProcessHead(folder, host)
    raise OptionError(
        f"provider: head is {wish!r}; write `head: job` (a batch job of its own), `head: here` "
        "(this machine) or `head: {login: HOST}` (a login node, by ssh)"
    )
