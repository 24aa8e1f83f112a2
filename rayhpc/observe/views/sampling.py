"""What a node's samples say about the moments between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rayhpc.observe.snapshot import Column
from rayhpc.wire.messages.listings import NodeHistory, NodeSample


def in_force(history: NodeHistory, at: Column, value: Callable[[NodeSample], float]) -> Column:
    """At each moment, the value of the latest sample up to then; 0 before the first."""
    samples = history.samples
    if not samples:
        return np.zeros(len(at))
    place = np.searchsorted(np.array([x.at for x in samples]), at, side="right") - 1
    values = np.array([value(x) for x in samples])
    return np.where(place >= 0, values[np.maximum(place, 0)], 0)
