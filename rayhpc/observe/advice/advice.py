"""One piece of advice."""

from __future__ import annotations

import msgspec


class Advice(msgspec.Struct, frozen=True):
    """What is slow, by how much, and what to do.

    `kind` is the module's name, `finding` a sentence with its figures, `remedy` a sentence.
    `saves` is roughly what the fault costs, in seconds of the program's time.
    """

    kind: str
    finding: str
    remedy: str
    saves: float
