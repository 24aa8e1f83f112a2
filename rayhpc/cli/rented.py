"""The commands about clusters whose provider makes their machines (clouds): what is their own.

Called by `up`, `down` and `explain`; `clusters.rental` has the machines made and ended.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from rayhpc.cli import cluster_status, handing_over
from rayhpc.cli.cluster_access import Cluster, confirm
from rayhpc.cli.saying import say
from rayhpc.clusters import renting
from rayhpc.clusters.cloud_plan import machine_word
from rayhpc.clusters.machine_plan import MachinePlan, is_head
from rayhpc.clusters.plan import Action, Row
from rayhpc.clusters.rental import Rental
from rayhpc.exit_codes import ExitCode
from rayhpc.providers.machines import Rented


def rows_of(rental: Rental, plan: MachinePlan) -> list[Row]:
    """What is asked for and ended, as rows of the plan that is shown."""
    rows = []
    for name, kind in plan.ask:
        what = machine_word(kind.options) or "of the default type"
        why = f"a machine is asked for: {what}"
        rows.append(Row(name, kind.name, kind is rental.types.head, Action.START, why, True, True))
    for machine, why in plan.end:
        row = Row(machine.name, machine.node_type, is_head(machine), Action.STOP, why)
        rows.append(row)
    return rows


def down(cluster: Cluster, *, workers_only: bool, keep: bool, yes: bool) -> int:
    """End its machines, and what it has beside them."""
    rental = cluster.rental()
    whole = not (workers_only or keep)
    ending = _ending(rental, workers_only, keep)
    if not ending and not whole:
        say(f"cluster {cluster.name} has no machine to end")
        return 0
    with cluster.folder.locked():
        if ending:
            listed = ", ".join(f"{x.name} ({x.identity})" for x in ending)
            confirm(f"End {listed} of cluster {cluster.name} at {rental.title}?", yes)
            handing_over.end_for_good(cluster, rental, whole=whole)
            ending = _ending(rental, workers_only, keep)
            renting.end_all(rental.provider, [each.name for each in ending])
        if whole:
            ending = [*ending, *_end_late(rental, {each.name for each in ending})]
        left = renting.remove_the_rest(rental.provider) if whole else []
        if whole and not left:
            renting.forget(cluster.folder)
    count = f"{len(ending)} machine{'s' * (len(ending) != 1)} ended"
    rest = f"; nothing of it is left at {rental.title}" if whole and not left else ""
    click.echo(f"Cluster {cluster.name}: {count}{rest}.")
    if left:
        say(f"still there: {', '.join(left)}; run `rayhpc down` again")
    return int(ExitCode.SCHEDULER) if left else 0


def _ending(rental: Rental, workers_only: bool, keep: bool) -> list[Rented]:
    """What is to be ended of what is there now."""
    living = rental.living()
    if workers_only:
        return [each for each in living if not is_head(each)]
    return _beyond_least(rental, living) if keep else living


def _end_late(rental: Rental, ended: set[str]) -> list[Rented]:
    """Machines that a head which could not be told has asked for meanwhile."""
    late = [each for each in rental.living() if each.name not in ended]
    if late:
        renting.end_all(rental.provider, [each.name for each in late])
    return late


def explain(cluster: Cluster, as_json: bool) -> int:
    """How each machine fares, those that ended lately too, in the place's own words; and why there
    are no more, in the planner's.
    """
    rental = cluster.rental()
    rows = [
        {"machine": x.name, "identity": x.identity, "why": rental.provider.explain(x.name)}
        for x in rental.provider.list()
    ]
    sentences = cluster_status.why_no_more(cluster) if rows else []
    if as_json:
        click.echo(json.dumps([*rows, *({"why": each} for each in sentences)], indent=2))
        return 0
    for row in rows:
        click.echo(f"{row['machine']} ({row['identity']}): {row['why']}")
    for sentence in sentences:
        click.echo(sentence)
    if not rows:
        say(f"cluster {cluster.name} has no machine at {rental.title}")
    return 0


def _beyond_least(rental: Rental, living: Sequence[Rented]) -> list[Rented]:
    """The workers above each type's least number, the newest of them."""
    found: list[Rented] = []
    for kind in rental.types.workers:
        mine = [x for x in living if x.node_type == kind.name and not is_head(x)]
        found += mine[kind.min_nodes :]
    return found
