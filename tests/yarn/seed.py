"""The program that the project began with, for tests on the real YARN: where its tasks run."""

from __future__ import annotations

from yarn.lab.lab import Lab

ADDRESSES = """
import os, rayhpc

@rayhpc.remote(num_cpus=1, scheduling_strategy="SPREAD")
def where():
    import time
    time.sleep(0.2)
    return os.environ["NM_HOST"]

rayhpc.init()
found = set()
while len(found) < 4:
    found |= set(rayhpc.get([where.remote() for _ in range(8)]))
print(*sorted(found), sep="\\n")
"""


def hosts_of_all(lab: Lab) -> list[str]:
    """What it prints on a lab of four nodes, line by line."""
    return sorted(lab.layout.address(name) for name in lab.layout.node_managers)
