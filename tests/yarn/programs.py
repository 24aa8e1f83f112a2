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

# It becomes as large as three nodes of a CPU each, works there, and becomes one again.
RESIZE = """
from rayhpc.compat.served.autoscaler.sdk import request_resources

def alive():
    return sum(node["Alive"] for node in rayhpc.nodes())

request_resources(num_cpus=3)
while alive() < 3:
    time.sleep(0.05)

@rayhpc.remote
class Count:
    started = 0
    def start(self):
        self.started += 1
    def all(self):
        return self.started

count = Count.options(num_cpus=0).remote()

@rayhpc.remote(num_cpus=1, scheduling_strategy="SPREAD", max_retries=0)
def long():
    rayhpc.get(count.start.remote())
    time.sleep(1.5)
    return os.environ["CONTAINER_ID"]

works = [long.remote() for _ in range(3)]
while rayhpc.get(count.all.remote()) < 3:
    time.sleep(0.05)
request_resources(bundles=[{"CPU": 1}])
print("worked on", len(set(rayhpc.get(works))), flush=True)
while alive() > 1:
    time.sleep(0.05)
print("shrunk", flush=True)
"""

# Tasks go on until they have run on three containers, none of them a second time; then the job is
# to become one node again.
BURST = """
import os, time
import rayhpc

rayhpc.init()

@rayhpc.remote(num_cpus=1, max_retries=0)
def where():
    time.sleep(0.2)
    return os.environ["CONTAINER_ID"]

def alive():
    return sum(node["Alive"] for node in rayhpc.nodes())

found = set()
while len(found) < 3:
    found |= set(rayhpc.get([where.remote() for _ in range(12)]))
print("worked on", len(found), flush=True)
while alive() > 1:
    time.sleep(0.05)
print("back", flush=True)
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
