"""What can happen between two and three hosts, by name.

Used by `run` and `scenario`.
"""

from __future__ import annotations

from tests.partitions.network import Network
from tests.partitions.scenario import Scenario

SPANS_S = (1, 3, 10, 30)
# From here on the head gives a node up: it is silent for `NODE_SILENT_S`, and TCP may take as long
# again to find out that it is not.
LONG_S = 3
DELAY_S = 0.05
LOSS = 0.02
CHANGED = 0.001
CHANGED_TO_HEAD = 0.02
STEADY_S = 6.0


def _cuts() -> dict[str, Scenario]:
    found = {}
    for seconds in SPANS_S:
        ways = {
            f"2 hosts, both ways cut for {seconds} s": [(1, 2), (2, 1)],
            f"2 hosts, to the head cut for {seconds} s": [(2, 1)],
            f"2 hosts, from the head cut for {seconds} s": [(1, 2)],
            f"3 hosts, head cut from one for {seconds} s": [(1, 3), (3, 1)],
            f"3 hosts, one cut from both for {seconds} s": [(1, 3), (3, 1), (2, 3), (3, 2)],
            f"3 hosts, to the head from one cut for {seconds} s": [(3, 1)],
            f"3 hosts, from the head to one cut for {seconds} s": [(1, 3)],
            f"3 hosts, two without head cut for {seconds} s": [(2, 3), (3, 2)],
            f"3 hosts, driver to worker cut for {seconds} s": [(2, 3)],
        }
        for name, pairs in ways.items():
            found[name] = Scenario(
                hosts=int(name[0]),
                begin=lambda network, pairs=pairs: network.cut(pairs),
                lasts_s=seconds,
                loses_node=seconds >= LONG_S,
            )
        found[f"2 hosts, interface down for {seconds} s"] = Scenario(
            hosts=2,
            begin=lambda network: network.set_interface(2, "down"),
            lasts_s=seconds,
            end=lambda network: network.set_interface(2, "up"),
            loses_node=seconds >= LONG_S,
        )
    return found


def _every(network: Network) -> list[tuple[int, int]]:
    return network.between([1], [2])


ALL = {
    **_cuts(),
    f"2 hosts, {DELAY_S * 1e3:.0f} ms each way": Scenario(
        2, lambda network: network.delay(_every(network), DELAY_S), STEADY_S, loses_node=False
    ),
    f"2 hosts, {LOSS:.0%} of frames lost": Scenario(
        2, lambda network: network.lose(_every(network), LOSS), STEADY_S, loses_node=False
    ),
    "2 hosts, connections with objects reset": Scenario(
        2, lambda network: network.reset(2, busy=True), 1.0, loses_node=False
    ),
    "2 hosts, bytes of objects changed on the wire": Scenario(
        2, lambda network: network.change(_every(network), CHANGED), STEADY_S, loses_node=False
    ),
    "2 hosts, source and reader of objects killed": Scenario(
        2, lambda network: None, 1.0, loses_node=True, kills=2
    ),
    "3 hosts, source and reader of objects killed": Scenario(
        3, lambda network: None, 1.0, loses_node=True, kills=3
    ),
    "2 hosts, all connections reset": Scenario(
        2, lambda network: network.reset(2, busy=False), 1.0, loses_node=False
    ),
    "3 hosts, all connections of one reset": Scenario(
        3, lambda network: network.reset(3, busy=False), 1.0, loses_node=False
    ),
    "2 hosts, connection to the head reset": Scenario(
        2, lambda network: network.reset_to_head(2), 1.0, loses_node=False
    ),
    "3 hosts, connection of one to the head reset": Scenario(
        3, lambda network: network.reset_to_head(3), 1.0, loses_node=False
    ),
    "2 hosts, bytes changed between raylet and head": Scenario(
        2,
        lambda network: network.change_to_head(_every(network), CHANGED_TO_HEAD),
        STEADY_S,
        loses_node=False,
    ),
}
