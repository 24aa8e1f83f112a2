"""`rayhpc status CLUSTER`: each machine of a launched cluster, and the cluster as its head sees it.

Called by `status`, and by `rented` for `explain`.  A machine that failed is shown with the phase it
was in, its last command, that one's exit code and its last lines.
"""

from __future__ import annotations

import json
import time
from typing import Any

import click

from rayhpc.cli import elastic_status, showing
from rayhpc.cli.cluster_access import Cluster, find, identity
from rayhpc.cli.cluster_kinds import verbs_of
from rayhpc.clusters.hosts import Host
from rayhpc.clusters.launcher import Launcher
from rayhpc.clusters.plan import Found
from rayhpc.clusters.record import Condition
from rayhpc.clusters.remote import scripts
from rayhpc.clusters.remote.trouble import RemoteError
from rayhpc.exit_codes import ExitCode, LaunchError

_ASK_S = 60.0


def show(word: str, as_json: bool) -> int:
    """Print the page; the exit code is 0 if every machine runs its node."""
    cluster = find(word)
    verbs = verbs_of(cluster)
    if verbs is not None:
        return verbs.show_status(cluster, as_json)
    hosts = cluster.hosts()
    hosts += cluster.hosts_gone(hosts)
    with cluster.launcher(hosts, quiet=True) as launcher:
        found = launcher.ask_all()
        conditions = cluster.record.conditions if cluster.record is not None else {}
        page = _of_head(cluster, launcher, found, as_json)
    rows = [_row(each, found[each.name], conditions.get(each.name)) for each in hosts]
    if as_json:
        value = {"cluster": cluster.name, "machines": rows, "head": json.loads(page or "null")}
        click.echo(json.dumps(value, indent=2))
    else:
        _print(cluster, rows)
        click.echo(page, nl=False)
    well = all(row["state"] in ("running", "off") for row in rows)
    return 0 if well else int(ExitCode.TOO_FEW_NODES)


def why_no_more(cluster: Cluster) -> list[str]:
    """What the planner says of a cluster that grows; nothing, if its head cannot be asked."""
    try:
        with cluster.launcher(cluster.hosts()[:1], quiet=True) as launcher:
            page = _of_head(cluster, launcher, launcher.ask_all(), as_json=True)
    except LaunchError:
        return []  # the place's words say how it fares
    return elastic_status.sentences(page) if page not in ("", "null") else []


def _row(host: Host, found: Found, condition: Condition | None) -> dict[str, Any]:
    row: dict[str, Any] = {"machine": host.name, "head": host.is_head}
    if found.alive:
        return {**row, "state": "running"}
    if found.trouble:
        row["trouble"] = found.trouble
    if condition is None and not found.trouble:
        return {**row, "state": "off"}
    row["state"] = "unreachable" if found.trouble else "not running"
    if condition is not None and condition.phase == "running":
        row.setdefault("trouble", "its node has ended")
    elif condition is not None:
        row |= {
            "phase": condition.phase,
            "at": condition.at,
            "command": condition.command,
            "exit_code": condition.exit_code,
            "reason": condition.sentence,
            "last_lines": condition.tail,
        }
    return row


def _print(cluster: Cluster, rows: list[dict[str, Any]]) -> None:
    click.echo(f"cluster {cluster.name}, {cluster.file.source}")
    width = max(len(row["machine"]) for row in rows)
    for row in rows:
        role = "head" if row["head"] else "worker"
        what = row.get("trouble") or ""
        click.echo(f"  {row['machine']:{width}}  {role:6}  {row['state']:11}  {what}".rstrip())
        if "phase" in row:
            ago = showing.age(time.time() - row["at"])
            code = "" if row["exit_code"] is None else f", exit code {row['exit_code']}"
            said = f": {row['reason']}" if row["reason"] else ""
            click.echo(f"      {ago} ago: {row['phase']} {row['command']}{code}{said}".rstrip())
            for line in row["last_lines"]:
                click.echo(f"      | {line}")


def _of_head(cluster: Cluster, launcher: Launcher, found: dict[str, Found], as_json: bool) -> str:
    """`rayhpc status` as the head's machine prints it; empty if no head runs."""
    head = launcher.head
    if not found[head.host.name].alive:
        return ""
    what = "rayhpc status --json" if as_json else "rayhpc status"
    text = f"{identity(cluster, head.host)}\nrayhpc _machine do '{what}'"
    taken: list[bytes] = []
    try:
        done = head.connection.run(
            scripts.command(text), within_s=_ASK_S, sink=taken.append, beats=True
        )
    except RemoteError as error:
        return "null" if as_json else f"{error}\n"
    output = b"".join(taken).decode(errors="replace")
    return output if done.code == 0 or not as_json else "null"
