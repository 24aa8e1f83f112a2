"""All batch systems by name: ours, and those that a site's packages add.

Used by `choose` (submit side) and `detect` (inside an allocation).  A package adds one through an
entry point of the group `rayhpc.batch`, whose value is a `BatchSystem`:

    [project.entry-points."rayhpc.batch"]
    acme = "acme_rayhpc:SYSTEM"
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from rayhpc.batch.errors import OptionError
from rayhpc.batch.system import BatchSystem

GROUP = "rayhpc.batch"
# Ours, in the order in which they are tried; they are in pyproject.toml as well.  This list spares
# a rank importing importlib.metadata, which takes 32 ms, longer than all of them.
OURS = ("slurm", "sge", "pbs", "yarn", "local")
# The variables of which a process in one of their allocations has at least one: where there is
# none, the module need not be loaded.  Loading all would take `init` 14 modules longer.
_SIGNS = {
    "slurm": ("SLURM_JOB_ID", "SLURM_JOBID"),
    "sge": ("JOB_ID",),
    "pbs": ("PBS_JOBID",),
    "yarn": ("CONTAINER_ID",),
    "local": (),
}


@cache
def system(name: str) -> BatchSystem:
    """The batch system with that name.  Raises OptionError, listing all, if there is none."""
    if name in OURS:
        return _checked(name, import_module(f"rayhpc.batch.{name}.system").SYSTEM)
    if name not in _brought():
        there = ", ".join(names())
        raise OptionError(f"--scheduler takes one of {there}, not {name!r}")
    from importlib.metadata import entry_points

    (point, *_) = entry_points(group=GROUP, name=name)
    try:
        return _checked(name, point.load())
    except Exception as error:  # whatever a package may do when imported
        raise OptionError(
            f"the batch system {name!r} ({point.value}) cannot be used: {error}"
        ) from error


def names() -> tuple[str, ...]:
    """All of them, in the order in which they are tried: sites' own before YARN and local."""
    return (*OURS[:-2], *_brought(), *OURS[-2:])


def systems(environ: Mapping[str, str] | None = None) -> Iterator[BatchSystem]:
    """All that can be loaded, in the same order; a broken package is skipped.

    `environ`: leave out those of ours in whose allocations no process with these variables is.
    """
    for name in names():
        if environ is not None and name in _SIGNS and environ.keys().isdisjoint(_SIGNS[name]):
            continue
        try:
            yield system(name)
        except OptionError:
            continue


@cache
def _brought() -> tuple[str, ...]:
    """The names that installed packages add; ours cannot be taken."""
    if not any(map(_speaks_of_us, sys.path)):
        return ()
    from importlib.metadata import entry_points

    found = {point.name for point in entry_points(group=GROUP)}
    return tuple(sorted(found.difference(OURS)))


def _speaks_of_us(folder: str) -> bool:
    """Whether a package installed there, other than rayhpc, has an entry point of our group.

    Checking files (3 ms for 56 packages) spares everyone else importing importlib.metadata.
    """
    try:
        installed = [name for name in os.listdir(folder or ".") if name.endswith("-info")]
    except OSError:
        return False
    for name in installed:
        if name.startswith("rayhpc-"):
            continue
        try:
            with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
                if b"[rayhpc.batch]" in file.read():
                    return True
        except OSError:
            continue
    return False


def _checked(name: str, found: object) -> BatchSystem:
    """The object, checked.  Raises TypeError if it is no batch system, or has another name."""
    if not isinstance(found, BatchSystem):
        raise TypeError(f"it is a {type(found).__name__}, not a rayhpc.batch.system.BatchSystem")
    if found.name != name:
        raise TypeError(f"it calls itself {found.name!r}")
    return found
