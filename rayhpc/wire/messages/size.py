"""How a program and rank 0 speak of the cluster's size, through the head's key-value store."""

import msgspec

SIZE_SPACE = "rayhpc.size"
# Set by rank 0 of a job that can be resized: a `Unit`.
UNIT_KEY = b"unit"
# Set by programs: how many nodes they want, in decimal digits.
WANTED_KEY = b"wanted"


class Unit(msgspec.Struct):
    """What one more node has."""

    cpus: float
    gpus: float
