"""`rayhpc resume`: have a node type asked for again that was paused after failures."""

from __future__ import annotations

import difflib

import click
import msgspec

from rayhpc.cli import elastic_status, showing
from rayhpc.cli.cluster_access import find
from rayhpc.cli.cluster_kinds import verbs_of
from rayhpc.exit_codes import ExitCode, LaunchError


@click.command()
@click.argument("node_type", metavar="TYPE")
@click.argument("cluster", required=False, metavar="[CLUSTER.YAML|NAME]")
@click.option(
    "--address", metavar="HOST:PORT", help="The cluster to tell (default: yours on this node)."
)
def resume(node_type: str, cluster: str | None, address: str | None) -> int:
    """Ask for nodes of TYPE again: after failures it waits, or has been paused.

    What was wrong should have been mended; `rayhpc status` quotes it.  Without a cluster's file or
    name, the one on this node is meant: `rayhpc exec JOB rayhpc resume worker`.
    """
    if cluster is not None:
        chosen = find(cluster)
        verbs = verbs_of(chosen)
        if verbs is None and chosen.rental_kind is not None:
            from rayhpc.cli.on_head import exec_on

            return exec_on(cluster, ["rayhpc", "resume", node_type], set())
        if verbs is None:
            raise LaunchError(f"cluster {chosen.name} asks for no nodes: it is a list of machines")
        return verbs.resume(chosen, node_type)
    _tell(node_type, address)
    click.echo(f"{node_type} is asked for again when something waits for it")
    return 0


def _tell(node_type: str, address: str | None) -> None:
    from rayhpc.launch.observer import Operator
    from rayhpc.wire.messages.cluster import KvGet, KvPut
    from rayhpc.wire.messages.elastic import ELASTIC_SPACE, RESUME_KEY

    with Operator(showing.chosen_session(address).session_dir) as operator:
        growth = elastic_status.asked(operator)
        types = [] if growth is None else list(growth.types)
        if node_type not in types:
            raise _unknown(node_type, types)
        found = operator.ask(KvGet(ELASTIC_SPACE, RESUME_KEY), object)
        before = msgspec.json.decode(found, type=list[str]) if isinstance(found, bytes) else []
        told = msgspec.json.encode([*before, node_type])
        operator.ask(KvPut(ELASTIC_SPACE, RESUME_KEY, told), bool)


def _unknown(node_type: str, types: list[str]) -> LaunchError:
    if not types:
        return LaunchError("this cluster keeps its size: it has no node types", ExitCode.REFUSED)
    near = difflib.get_close_matches(node_type, types, 1)
    meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(types)}"
    return LaunchError(f"there is no node type {node_type!r}; {meant}", ExitCode.CONFIGURATION)
