"""Chooses the parallel environment for a job, so that it gets its nodes.

Grid Engine allocates slots, not nodes; how slots are spread over hosts is a rule of the parallel
environment, which the site defines.  Used by `jobs`; costs one request per environment.
"""

from __future__ import annotations

from dataclasses import dataclass

from rayhpc.batch.errors import OptionError
from rayhpc.batch.request import JobRequest
from rayhpc.batch.sge.commands import call, read_pairs

_ONE_HOST = "$pe_slots"
_TURNS = "$round_robin"


@dataclass(frozen=True)
class Environment:
    """A parallel environment: its name and its rule, a number or one of SGE's keywords."""

    name: str
    rule: str

    @property
    def each(self) -> int | None:
        """Slots it allocates on each host; None: not fixed."""
        return int(self.rule) if self.rule.isdigit() else None


@dataclass(frozen=True)
class Slots:
    """What to request: `-pe NAME TOTAL`, `each` on every host; no name: not a parallel job."""

    name: str
    total: int
    each: int
    exact: bool = True


def environments(queue: str | None) -> list[Environment]:
    """Those that may start tasks on other hosts, for that queue or for all."""
    names = call(["qconf", "-spl"]).split()
    if queue is not None:
        offered = read_pairs(call(["qconf", "-sq", queue])).get("pe_list", "").replace(",", " ")
        names = [name for name in names if name in offered.split()]
    found = []
    for name in names:
        known = read_pairs(call(["qconf", "-sp", name]))
        if known.get("control_slaves", "").upper() == "TRUE":
            found.append(Environment(name, known.get("allocation_rule", "")))
    return found


def choose(request: JobRequest, there: list[Environment]) -> Slots:
    """The slots for that many nodes.

    Raises OptionError, listing what there is, if no parallel environment spreads them like that.
    """
    wanted, nodes = request.cpus_per_node, request.nodes
    if nodes == 1:
        whole = [each for each in there if each.rule == _ONE_HOST or each.each == wanted]
        if whole or wanted in (None, 1):
            return Slots(whole[0].name if whole else "", wanted or 1, wanted or 1)
    fixed = [each for each in there if each.each is not None and wanted in (None, each.each)]
    if fixed:
        # The most per host comes closest to a whole host.
        best = max(fixed, key=lambda each: each.each or 0)
        slots = best.each or 1
        return Slots(best.name, nodes * slots, slots)
    turns = [each for each in there if each.rule == _TURNS]
    if turns:
        return Slots(turns[0].name, nodes * (wanted or 1), wanted or 1, exact=False)
    shown = ", ".join(f"{each.name} ({each.rule})" for each in there) or "none"
    each_host = f"{wanted} slots on each host" if wanted else "equal slots on each host"
    raise OptionError(
        f"--nodes {nodes}: no parallel environment gives {each_host}; there are {shown}: choose "
        "one with --sge '-pe NAME SLOTS', or another --cpus-per-node"
    )
