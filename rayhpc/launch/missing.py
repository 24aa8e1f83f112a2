"""Describes nodes that are missing, lost or odd, and why, when a cluster is not as it should be.

Used by rank 0.  Only words what the head, the reports and the logs say.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rayhpc.elastic.types import MACHINE_LABEL
from rayhpc.exit_codes import LaunchError
from rayhpc.launch.election import Role
from rayhpc.launch.rendezvous import Report

if TYPE_CHECKING:
    from rayhpc.wire.messages.listings import NodeState

_TAIL_LINES = 5
_MOST_ROWS = 20
# Start messages take less; file ages, other services' leases and logs suffer from more.
_SKEW_S = 10.0


def describe_missing(
    role: Role,
    here: Collection[int],
    reports: Mapping[int, Report],
    wanted: int,
    log_folder: str,
) -> str:
    """The sentence and table for a start with too few nodes."""
    said = {report.node: report for report in reports.values()}
    rows = []
    for node in range(role.nodes):
        if node not in here:
            rows += _row(role.host(node), said.get(node), node, log_folder)
    shown = rows[: _MOST_ROWS * (_TAIL_LINES + 1)]
    more = [] if len(shown) == len(rows) else ["  …"]
    head = f"{len(here)} of {role.nodes} nodes joined, but {wanted} are needed. Missing:"
    hint = "allow more time with --start-timeout, or fewer nodes with --min-nodes"
    return "\n".join([head, *shown, *more, hint])


def skewed_clocks(nodes: list[NodeState]) -> list[str]:
    """A warning for each node whose clock differs from the head's."""
    return [
        f"the clock of node {each.info.hostname} ({each.info.ip}) is {abs(each.skew):.0f} s "
        f"{'ahead of' if each.skew > 0 else 'behind'} rank 0's: times in logs and of files will "
        "not agree; tell the system's administrators"
        for each in nodes
        if abs(each.skew) > _SKEW_S
    ]


def lost_nodes(session_dir: str) -> list[str]:
    """A sentence for each node that the cluster has lost; empty if it can no longer be asked."""
    from rayhpc.launch.observer import Observer

    try:
        with Observer(session_dir) as observer:
            gone = [each for each in observer.nodes() if _is_lost(each)]
    except LaunchError:
        return []
    return [f"node {each.info.hostname} ({each.info.ip}) was lost: {each.ended}" for each in gone]


def _is_lost(node: NodeState) -> bool:
    """Whether it is gone and nobody has sent it away, as is done with nodes that were added."""
    added = MACHINE_LABEL in node.info.labels
    return not node.alive and not (added and node.ended.startswith("it left"))


def _row(host: str, report: Report | None, node: int, log_folder: str) -> list[str]:
    if report is not None:
        first, *rest = report.error.splitlines() or [""]
        return [f"  {report.host}: {first}", *(f"      {line}" for line in rest[-_TAIL_LINES:])]
    tail = _tail(log_folder, node)
    silent = f"  {host}: no word from it: is {sys.executable} there, and does rayhpc run with it?"
    return [silent, *(f"      {line}" for line in tail)]


def _tail(log_folder: str, node: int) -> list[str]:
    """The last lines of a node's logs, if they have been copied to the job's folder."""
    if not log_folder:
        return []
    lines: list[str] = []
    for path in sorted(Path(log_folder).glob(f"{node:05}-*")):
        try:
            lines += path.read_text(errors="replace").splitlines()
        except OSError:
            continue
    return lines[-_TAIL_LINES:]
