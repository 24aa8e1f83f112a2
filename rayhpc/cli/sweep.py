"""`rayhpc sweep`: machines of clusters that nobody looks after any more, where they are rented.

Every machine ends itself when no node runs there; this is for those that could not, and for seeing
in one list what there is, whoever has brought it up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from rayhpc.batch.errors import OptionError
from rayhpc.cli.cluster_access import confirm, yes_option
from rayhpc.cli.saying import say
from rayhpc.clusters.ignored import RENTED
from rayhpc.providers import registry
from rayhpc.providers.machines import MachineKind, Watched


@click.command()
@click.option("--provider", default=RENTED[0], show_default=True, type=click.Choice(RENTED))
@click.option("--region", help="Default: as the place's own tools have it.")
@click.option("--cluster", "name", metavar="NAME", help="All machines of this cluster.")
@yes_option
def sweep(provider: str, region: str | None, name: str | None, yes: bool) -> int:
    """List all machines of clusters, and end those that nobody looks after any more.

    \b
    rayhpc sweep --region us-west-2                 ends what an `up --stay` has left that is gone
    rayhpc sweep --region us-west-2 --cluster demo  ends all of one cluster
    """
    kind = registry.provider(provider)
    if not isinstance(kind, MachineKind):
        raise OptionError(f"{provider} makes no machines")
    options = {"type": provider, **({"region": region} if region else {})}
    found = kind.watched(options)
    now = time.time()
    ending = [each for each in found if _ends(each, name, now)]
    _show(found, now)
    if not ending:
        say("there is nothing to end")
        return 0
    confirm(f"End {', '.join(each.identity for each in ending)}?", yes)
    kind.end(options, [each.identity for each in ending])
    click.echo(f"{len(ending)} machine{'s' * (len(ending) != 1)} ended.")
    return 0


def _ends(each: Watched, name: str | None, now: float) -> bool:
    return each.cluster == name if name is not None else each.is_stale(now)


def _show(found: Sequence[Watched], now: float) -> None:
    for each in found:
        click.echo(
            f"{each.identity}  {each.cluster}  {each.name}  of {each.owner}: {each.say(now)}"
        )
