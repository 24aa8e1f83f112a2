"""Chooses the batch system for this machine.

Called by `rayhpc submit`; commands for existing jobs use the one that the job was submitted to.
Looks at variables, PATH and files; asks a controller at most whether it is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from rayhpc.batch.errors import OptionError
from rayhpc.batch.registry import names, system
from rayhpc.batch.system import BatchSystem, Which


@dataclass(frozen=True)
class Choice:
    """A batch system and why it was chosen, as the second half of a sentence."""

    system: BatchSystem
    why: str


def choose(
    environ: Mapping[str, str], told: str | None = None, *, which: Which = shutil.which
) -> Choice:
    """The one given as `told`, or else the first that takes jobs from this machine.

    They are tried in the order of `registry.names`: those with programs of their own, then YARN,
    whose configuration is a weaker sign, then this machine.  Others that are found are reported,
    too.

    Raises OptionError if there is none with that name.
    """
    if told is not None:
        return Choice(system(told), "--scheduler")
    chosen: BatchSystem | None = None
    why, also = "", list[str]()
    for name in names():
        try:
            each = system(name)
        except OptionError as error:  # a site's package: broken for its own jobs, not for others
            also.append(str(error))
            continue
        sign = each.look(environ, which)
        if chosen is None and sign.there:
            chosen, why = each, sign.why
        elif sign.why and each.outlives_submit:
            also.append(f"{sign.why}, too (--scheduler {each.name})" if sign.there else sign.why)
    assert chosen is not None, "this machine itself is always there"
    return Choice(chosen, "; ".join([why, *also]))
