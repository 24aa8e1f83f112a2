"""Ranks started by our own shell code, for batch systems whose launchers do not number them.

The shell function `start_ranks` (templates/common/step.sh) gives each rank its number, the number
of ranks, and all hosts with their slots: RAYHPC_RANK, RAYHPC_SIZE, RAYHPC_HOSTS.  They are valid
only in the job that RAYHPC_STEP names, because a job may inherit its submitter's variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rayhpc.allocation import variables
from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Fact


def step_command(system: str, argv: Sequence[str], nodes: int | None) -> list[str]:
    """The command that runs `argv` on each host, by the `step` of templates/`system`/step.sh."""
    from rayhpc.batch.templates import shipped

    limit = ["env", f"RAYHPC_STEP_NODES={nodes}"] if nodes else []
    scripts = [str(shipped() / folder / "step.sh") for folder in ("common", system)]
    return [*limit, "/bin/bash", "-c", '. "$0"; . "$1"; shift; step "$@"', *scripts, *argv]


def is_rank(environ: Mapping[str, str], step: str) -> bool:
    """Whether this process is a rank of that same step."""
    return environ.get("RAYHPC_STEP") == step and "RAYHPC_RANK" in environ


def rank_facts(base: Allocation, environ: Mapping[str, str], launcher: str) -> Allocation:
    """`base` as one rank of a step knows it, the only one on its host.

    Raises ValueError naming a variable that cannot be parsed.
    """
    rank, size = variables.to_int(environ, "RAYHPC_RANK"), variables.to_int(environ, "RAYHPC_SIZE")
    words = environ.get("RAYHPC_HOSTS", "").split()
    hosts = slots_of_hosts(word.rpartition(":")[::2] for word in words)
    own = list(hosts.values())[rank : rank + 1]
    return replace(
        base,
        launcher=Fact(launcher, "RAYHPC_STEP"),
        rank=Fact(rank, "RAYHPC_RANK"),
        size=Fact(size, "RAYHPC_SIZE"),
        node_index=Fact(rank, "RAYHPC_RANK"),
        num_nodes=Fact(size, "RAYHPC_SIZE"),
        nodes=Fact(tuple(hosts), "RAYHPC_HOSTS"),
        cpus=Fact(own[0], "RAYHPC_HOSTS") if own else Fact(None, "RAYHPC_HOSTS is not set"),
    )


def shell_facts(base: Allocation, hosts: Mapping[str, int], source: str) -> Allocation:
    """`base` as a job's script knows it: alone, with `hosts` to start a step on."""
    here = base.nodes.value[0].partition(".")[0]
    own = next((slots for host, slots in hosts.items() if host.partition(".")[0] == here), None)
    return replace(
        base,
        launcher=Fact("batch", "RAYHPC_STEP is not set"),
        num_nodes=Fact(len(hosts), source),
        nodes=Fact(tuple(hosts), source),
        cpus=Fact(own, source if own is not None else f"{source} does not name this host"),
    )


def slots_of_hosts(pairs: Iterable[Sequence[str]]) -> dict[str, int]:
    """Slots per host from pairs of both; a host that appears several times gets the sum."""
    found: dict[str, int] = {}
    for host, slots in pairs:
        found[host] = found.get(host, 0) + (int(slots) if slots.isdigit() else 0)
    return found
