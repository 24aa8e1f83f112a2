"""A program that shows on which containers its cluster is, for the tests of applications."""

from __future__ import annotations

from pathlib import Path

_TEXT = """
import os, sys, time
import rayhpc

rayhpc.init()

@rayhpc.remote(num_cpus=1, scheduling_strategy="SPREAD", max_retries=5)
def where():
    time.sleep(0.1)
    return os.environ["CONTAINER_ID"]

{before}
found = set()
while len(found) < {nodes}:
    found |= set(rayhpc.get([where.remote() for _ in range(2 * {nodes})]))
print("found", len(found), flush=True)
{after}
"""


def program(nodes: int, before: str = "", after: str = "") -> str:
    """Its text: it goes on until it has run on so many containers."""
    return _TEXT.format(nodes=nodes, before=before, after=after)


def waiting_for(path: Path) -> str:
    """Work until there is a file of that name; says that it works by one with `.started`."""
    return f"""
import pathlib
open({str(path)!r} + ".started", "w").close()
while not pathlib.Path({str(path)!r}).exists():
    rayhpc.get(where.remote())
"""
