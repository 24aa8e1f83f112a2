"""`rayhpc status`: the page of one cluster."""

from __future__ import annotations

import io

from rich.console import Console

from rayhpc.cli import status
from rayhpc.launch.sessions import SessionRecord
from rayhpc.wire.messages.listings import ClusterState, NodeState
from tests.raylet.doubles import node_info

RECORD = SessionRecord(
    session_dir="/session", cluster_id="c", endpoints=["10.0.0.1:6379"], node_ip="10.0.0.1",
    is_head=True, kind="start", pid=1, started=1, boot_id="b", pid_namespace=1, created=0.0,
)  # fmt: skip
WHY = "no heartbeat for 30 s; its job 4711 has ended (TIMEOUT): [slurm] the time limit was reached"


def test_why_a_node_is_gone_is_a_line_of_its_own_however_narrow_the_terminal() -> None:
    nodes = [
        NodeState(node_info(1), True, {}),
        NodeState(node_info(2), False, {}, ended=WHY),
    ]
    out = io.StringIO()
    state = ClusterState("c", 0.0, nodes, {}, {}, 0, [])
    status.render(RECORD, state, Console(file=out, width=80, highlight=False))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert f"host2 is gone: {WHY}" in lines
    (row,) = (line for line in lines if "10.0.0.2" in line)
    assert row.endswith(" gone")
    assert not any(line.startswith("host1 is gone") for line in lines)
