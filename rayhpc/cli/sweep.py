"""`rayhpc sweep`: machines of clusters that nobody looks after any more, where they are rented.

Every machine ends itself when no node runs there; this is for those that could not, and for seeing
in one list what there is, whoever has brought it up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from rayhpc.batch.errors import OptionError
from rayhpc.cli.cluster_access import confirm, find, yes_option
from rayhpc.cli.saying import say
from rayhpc.clusters.ignored import RENTED
from rayhpc.providers import registry
from rayhpc.providers.machines import MachineKind, Watched


@click.command()
@click.option("--provider", type=click.Choice(RENTED), help=f"Default: the file's, or {RENTED[0]}.")
@click.option("--region", help="Default: the file's, or as the place's own tools have it.")
@click.option("--cluster", "name", metavar="NAME", help="All machines of this cluster.")
@yes_option
@click.argument("file", metavar="[CLUSTER.YAML|NAME]", required=False)
def sweep(
    file: str | None, provider: str | None, region: str | None, name: str | None, yes: bool
) -> int:
    """List all machines of clusters, and end those that nobody looks after any more.

    \b
    rayhpc sweep --region us-west-2                 ends what an `up --stay` has left that is gone
    rayhpc sweep --region us-west-2 --cluster demo  ends all of one cluster
    rayhpc sweep cluster.yaml                       where that file's clusters are

    A file says where to look: provider, account, region and, on Azure, its resource group; all
    clusters there are meant, not only the file's.
    """
    options: dict[str, object] = {} if file is None else dict(find(file).file.config.provider)
    if provider is not None and options.get("type", provider) != provider:
        raise click.UsageError(f"{file} is of provider {options['type']}: leave --provider out")
    provider = str(options.setdefault("type", provider or RENTED[0]))
    kind = registry.provider(provider)
    if not isinstance(kind, MachineKind):
        raise OptionError(f"{provider} makes no machines")
    if region is not None:
        options["region"] = region
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
