"""Asking for another size of the cluster, where the batch system can give one.

Used by the shim's `ray.autoscaler.sdk`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from rayhpc.runtime.process import current
from rayhpc.wire.messages.cluster import KvGet, KvPut
from rayhpc.wire.messages.common import UNIT
from rayhpc.wire.messages.elastic import ELASTIC_SPACE, FLOOR_KEY, STATUS_KEY
from rayhpc.wire.messages.size import SIZE_SPACE, UNIT_KEY, WANTED_KEY, Unit


def want_resources(cpus: float, bundles: Sequence[Mapping[str, float]]) -> bool:
    """Have the cluster become as large as that needs; False: it has a fixed size.

    Args:
        cpus: CPUs in all.
        bundles: what is to have room at the same time, each on one node; CPU and GPU count.
    """
    client = current.client()
    if client.ask_head(KvGet(ELASTIC_SPACE, STATUS_KEY), bytes | None) is not None:
        floor = [{"CPU": UNIT}] * math.ceil(cpus)
        floor += [{name: round(n * UNIT) for name, n in each.items()} for each in bundles]
        client.ask_head(KvPut(ELASTIC_SPACE, FLOOR_KEY, msgspec.json.encode(floor)), bool)
        return True
    found = client.ask_head(KvGet(SIZE_SPACE, UNIT_KEY), bytes | None)
    if found is None:
        return False
    unit = msgspec.json.decode(found, type=Unit)
    nodes = max(1, _nodes_for(cpus, unit.cpus), _nodes_of_bundles(bundles, unit))
    client.ask_head(KvPut(SIZE_SPACE, WANTED_KEY, str(nodes).encode()), bool)
    return True


def _nodes_for(amount: float, each: float) -> int:
    return math.ceil(amount / each) if each else 0


def _nodes_of_bundles(bundles: Sequence[Mapping[str, float]], unit: Unit) -> int:
    """First fit, the largest first; a bundle that no node could hold counts as one."""
    rooms: list[list[float]] = []
    wanted = [(float(each.get("CPU", 0)), float(each.get("GPU", 0))) for each in bundles]
    for cpus, gpus in sorted(wanted, reverse=True):
        room = next((x for x in rooms if x[0] >= cpus and x[1] >= gpus), None)
        if room is None:
            room = [unit.cpus, unit.gpus]
            rooms.append(room)
        room[0] -= cpus
        room[1] -= gpus
    return len(rooms)
