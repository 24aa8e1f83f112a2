"""A machine that the tables of batch systems are asked about."""

from __future__ import annotations

from rayhpc.machine.facts import MachineFacts
from rayhpc.machine.memory import Memory


def machine(hostname: str) -> MachineFacts:
    """One of eight processors and 64 GiB."""
    return MachineFacts(hostname, 8, frozenset(range(8)), Memory(64 << 30, 60 << 30))
