"""All kinds of providers by name: ours, and those that a site's packages add.

Used by whatever starts a cluster that grows.  A package adds one through an entry point of the
group `rayhpc.providers`, whose value is a `base.ProviderKind`:

    [project.entry-points."rayhpc.providers"]
    acme = "acme_rayhpc:PROVIDER"
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module

from rayhpc.batch.errors import OptionError
from rayhpc.providers.base import ProviderKind

GROUP = "rayhpc.providers"
# Ours, by the module that has each; they are in pyproject.toml as well.
OURS = {
    "aws": "rayhpc.providers.aws.provider",
    "azure": "rayhpc.providers.azure.provider",
    "gcp": "rayhpc.providers.gcp.provider",
    "kubernetes": "rayhpc.providers.kubernetes.provider",
    "sge": "rayhpc.providers.sge.provider",
    "slurm": "rayhpc.providers.slurm.provider",
    "yarn": "rayhpc.providers.yarn.provider",
}


@cache
def provider(name: str) -> ProviderKind:
    """The kind with that name.

    Raises:
        OptionError: there is none (it lists all and names the nearest), or it cannot be used.
    """
    if name in OURS:
        return _checked(name, import_module(OURS[name]).PROVIDER)
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP, name=name):
        try:
            return _checked(name, point.load())
        except Exception as error:  # whatever a package may do when imported
            raise OptionError(
                f"the provider {name!r} ({point.value}) cannot be used: {error}"
            ) from error
    near = difflib.get_close_matches(name, names(), 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise OptionError(f"there is no provider {name!r}, only {', '.join(names())}{meant}")


def names() -> tuple[str, ...]:
    """All of them, sorted."""
    from importlib.metadata import entry_points

    return tuple(sorted({*OURS, *(point.name for point in entry_points(group=GROUP))}))


def _checked(name: str, found: object) -> ProviderKind:
    """The object, checked.  Raises TypeError if it is no provider, or has another name."""
    if not isinstance(found, ProviderKind):
        raise TypeError(f"it is a {type(found).__name__}, not a rayhpc.providers.base.ProviderKind")
    if found.name != name:
        raise TypeError(f"it calls itself {found.name!r}")
    return found
