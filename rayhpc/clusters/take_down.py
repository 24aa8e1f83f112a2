"""Ends a cluster's nodes, the workers' first; of a cluster that is half there as well.

Called by `cli.down`.  What cannot be reached is named, and stays in the record for the next try.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rayhpc.clusters.launcher import Launcher
from rayhpc.clusters.machine import Machine, Tell
from rayhpc.clusters.remote.trouble import RemoteError


@dataclass(frozen=True)
class Ended:
    """What became of one machine's node; `was_there`: there was one."""

    name: str
    was_there: bool
    error: RemoteError | None = None


def take_down(launcher: Launcher, machines: Sequence[Machine], tell: Tell) -> list[Ended]:
    """End the nodes on these machines."""

    def end(machine: Machine) -> Ended:
        name = machine.host.name
        try:
            launcher.open(machine)
            was_there = machine.ask().alive
            if was_there:
                machine.stop()
                tell(name, "stopped")
            machine.forget()
        except RemoteError as error:
            return Ended(name, False, error)
        return Ended(name, was_there)

    workers = [each for each in machines if not each.host.is_head]
    heads = [each for each in machines if each.host.is_head]
    done = launcher.on_all(workers, end)
    # The head last: it is told of each node that leaves.
    done |= launcher.on_all(heads, end)
    return [done[each] for each in machines]
