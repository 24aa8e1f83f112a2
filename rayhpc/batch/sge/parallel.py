"""Which parallel environment a job asks for, so that it gets its nodes.

Grid Engine gives slots, not nodes; how slots are spread over hosts is a rule of the parallel
environment, which the site makes.  Used by `jobs`; costs a request for each one the site has.
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
    """A parallel environment: its name and its rule, which is a number or one of SGE's words."""

    name: str
    rule: str

    @property
    def each(self) -> int | None:
        """Slots that it takes on each host; None: as many as it happens."""
        return int(self.rule) if self.rule.isdigit() else None


@dataclass(frozen=True)
class Slots:
    """What to ask for: `-pe NAME TOTAL`, `each` on every host; no name: no parallel job."""

    name: str
    total: int
    each: int
    exact: bool = True


def environments(queue: str | None) -> list[Environment]:
    """Those that may start tasks on other hosts, of that queue or of all."""
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

    Raises OptionError, naming what there is, where no parallel environment spreads them so.
    """
    wanted, nodes = request.cpus_per_node, request.nodes
    if nodes == 1:
        whole = [each for each in there if each.rule == _ONE_HOST or each.each == wanted]
        if whole or wanted in (None, 1):
            return Slots(whole[0].name if whole else "", wanted or 1, wanted or 1)
    fixed = [each for each in there if each.each is not None and wanted in (None, each.each)]
    if fixed:
        # The most of each host is the nearest to a whole one.
        best = max(fixed, key=lambda each: each.each or 0)
        slots = best.each or 1
        return Slots(best.name, nodes * slots, slots)
    turns = [each for each in there if each.rule == _TURNS]
    if turns:
        return Slots(turns[0].name, nodes * (wanted or 1), wanted or 1, exact=False)
    shown = ", ".join(f"{each.name} ({each.rule})" for each in there) or "none"
    each_host = f"{wanted} slots of each host" if wanted else "the same slots of each host"
    raise OptionError(
        f"--nodes {nodes}: no parallel environment takes {each_host}; there are {shown}: choose "
        "one with --sge '-pe NAME SLOTS', or another --cpus-per-node"
    )
