"""Checks that would make a submission fail later: sizes, queue, label, nodes.

Used by `jobs` right before it submits.
"""

from __future__ import annotations

from rayhpc.batch.errors import OptionError
from rayhpc.batch.yarn.document import Document
from rayhpc.hadoop.client import Client
from rayhpc.hadoop.messages.applications import QueueStateProto
from rayhpc.hadoop.messages.records import NodeStateProto
from rayhpc.hadoop.resources import Size


def check(document: Document, most: Size, client: Client) -> None:
    """Reject what this cluster can never run.

    Args:
        document: what is to be submitted.
        most: the largest size of a container here.
        client: the ResourceManager.

    Raises:
        OptionError: naming the limit, or what there is.
    """
    wanted = document.containers
    excess = Size(wanted.memory, wanted.vcores, wanted.gpus).beyond(most)
    if excess:
        raise OptionError(f"this cluster has no such container: {'; '.join(excess)}")
    _check_queue(document.application.queue, client)
    _check_label(document.application.node_label, client)
    alive = [each for each in client.nodes() if each.node_state == NodeStateProto.NS_RUNNING]
    if len(alive) < wanted.needed:
        raise OptionError(
            f"--nodes {wanted.needed}: this cluster has {len(alive)} nodes that run, and each rank "
            "needs one; ask for fewer nodes, or give --min-nodes"
        )


def _check_queue(name: str, client: Client) -> None:
    queue = client.queue(name.rpartition(".")[2]) or client.queue(name)
    if queue is None:
        raise OptionError(f"--partition {name}: this cluster has no queue of that name")
    if queue.has("state") and queue.state != QueueStateProto.Q_RUNNING:
        raise OptionError(f"--partition {name}: that queue accepts no applications now")


def _check_label(label: str, client: Client) -> None:
    if not label:
        return
    known = client.node_labels()
    if label not in known:
        there = f"there are {', '.join(known)}" if known else "it has none"
        raise OptionError(f"--constraint {label}: no node label of this cluster's; {there}")
