"""A cluster that grows to many nodes and back while everything goes wrong, and the count of it.

    python -m tests.elastic.chaos [NODES] [SEED]

Requests and answers are lost, late and doubled, the place shows old states or none, machines
vanish, and the planner's process is killed between ask and answer.  Prints what happened; exits
with 1 if anything was asked for twice or is left running.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rayhpc.elastic.types import NodeType
from rayhpc.wire.messages.common import UNIT
from tests.elastic.world import Trouble, World

TROUBLE = Trouble(
    lost=0.05,
    answer_lost=0.1,
    late=0.05,
    twice=0.1,
    old_look=0.1,
    empty_look=0.1,
    vanish=0.0005,
    killed=0.1,
    forgets=0.2,
)
_ROUND_S, _ROUNDS = 50.0, 200


@dataclass(frozen=True)
class Count:
    """What came of one run."""

    nodes: int
    most: int
    machines: int
    vanished: int
    requests: int
    unanswered: int
    kills: int
    done: int
    left: int
    seconds: float

    @property
    def superfluous(self) -> int:
        """Machines that were asked for although others had been asked for the same."""
        return max(0, self.machines - self.nodes - self.vanished)

    @property
    def is_well(self) -> bool:
        """Whether all work was done, nothing asked for twice, and nothing is left."""
        return self.done == self.nodes and not self.superfluous and not self.left

    def __str__(self) -> str:
        return (
            f"{self.nodes} nodes up and down in {self.seconds:.0f} simulated seconds: "
            f"{self.requests} requests, {self.unanswered} of them unanswered, planner killed "
            f"{self.kills} times, {self.vanished} machines vanished\n"
            f"machines asked for {self.machines}, at most {self.most} at once; asked for twice "
            f"{self.superfluous}; tasks done {self.done} of {self.nodes}; left running {self.left}"
        )


def run(nodes: int, seed: int) -> Count:
    """As many tasks as there may be nodes, each of which takes a node for a minute."""
    kind = NodeType("worker", {"CPU": UNIT}, max_nodes=nodes, idle_seconds=10.0)
    world = World([kind], seed, TROUBLE)
    began = world.now
    world.submit(nodes, seconds=60.0)
    for number in range(_ROUNDS):
        world.run(_ROUND_S)
        if number == 3:
            world.trouble = Trouble()
        if world.done == nodes and not world.living():
            break
    return Count(
        nodes,
        world.most,
        len(world.things),
        world.vanished,
        world.requests,
        world.unanswered,
        world.kills,
        world.done,
        len(world.living()),
        world.now - began,
    )


def main() -> int:
    """From the command line."""
    told = [int(each) for each in sys.argv[1:]] + [1000, 7][len(sys.argv) - 1 :]
    count = run(*told[:2])
    print(count)
    return 0 if count.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
