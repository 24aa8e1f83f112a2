"""`python -m tests.chaos.head_killed [--gib 2]`: the head is killed in the middle of programs.

Four nodes on this machine.  First a program that asks a thousand tasks for their address, as in
every introduction to Ray, then a shuffle: mappers make numbers and deal them out by their rest,
reducers sort what they get, which must be exactly the numbers with that rest.  The head's
process is killed with SIGKILL once during the first, twice during the second: a fourth time within
a minute it would not be started again.  Prints how long each took, and whether its answer was
right; the exit code is 1 if one was not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import rayhpc as ray
from rayhpc.launch.cluster import LocalCluster
from rayhpc.launch.options import NodeOptions
from tests.ends.head_process import Head, until

NODES = 4
MAPPERS, REDUCERS = 16, 8
ADDRESSES = 1000
# It has no factor in common with any power of two: multiplying by it mixes numbers up.
MIX = 2_654_435_761


@ray.remote
def address() -> str:
    time.sleep(0.01)  # as in the introduction
    return ray.util.get_node_ip_address()


@ray.remote(num_returns=REDUCERS)
def deal(part: int, count: int) -> list[Any]:
    mixed = np.arange(count, dtype=np.int64) * MIX % count + part * count
    return [mixed[mixed % REDUCERS == rest] for rest in range(REDUCERS)]


@ray.remote
def collect(rest: int, total: int, *pieces: Any) -> tuple[int, bool]:
    together = np.concatenate(pieces)
    together.sort()
    return len(together), bool(np.array_equal(together, np.arange(rest, total, REDUCERS)))


def addresses(kill: Callable[[], None]) -> bool:
    """The program of the introductions."""
    refs = [address.remote() for _ in range(ADDRESSES)]
    ray.wait(refs, num_returns=ADDRESSES // 2)
    kill()
    found = ray.get(refs)
    return len(found) == ADDRESSES and set(found) <= {f"127.0.0.{i + 1}" for i in range(NODES)}


def shuffle(gib: float, kill: Callable[[], None]) -> bool:
    """So many GiB of numbers go from mappers to reducers."""
    # A power of two, so that MIX has no factor in common with it.
    count = 1 << int(gib * 2**30 / 8 / MAPPERS).bit_length() - 1
    total = MAPPERS * count
    dealt = [deal.remote(part, count) for part in range(MAPPERS)]
    ray.wait([pieces[0] for pieces in dealt], num_returns=MAPPERS // 2, fetch_local=False)
    kill()
    sums = [
        collect.remote(rest, total, *[pieces[rest] for pieces in dealt]) for rest in range(REDUCERS)
    ]
    del dealt
    ray.wait(sums)
    kill()
    return ray.get(sums) == [(total // REDUCERS, True)] * REDUCERS


def main() -> int:
    """Run both, alone and with the head killed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=2.0, help="what is shuffled")
    options = parser.parse_args()
    store = int((options.gib * 0.75 + 0.1) * 2**30)
    cluster = LocalCluster()
    good = True
    try:
        for _ in range(NODES):
            cluster.add_node(NodeOptions(num_cpus=1, object_store_memory=store))
        ray.init(cluster.head.session_dir, log_to_driver=False, logging_level="ERROR")
        head = Head(cluster.head.process.pid)
        programs: dict[str, Callable[[Callable[[], None]], bool]] = {
            f"{ADDRESSES} addresses": addresses,
            f"shuffle of {options.gib:g} GiB": lambda kill: shuffle(options.gib, kill),
        }
        for name, program in programs.items():
            good &= _show(name, lambda: None, program)
            good &= _show(f"{name}, head killed", lambda: _kill(head), program)
    finally:
        ray.shutdown()
        cluster.shutdown()
    return 0 if good else 1


def _kill(head: Head) -> None:
    """Kill it; the next one must be there before another kill, and nothing waits for it."""
    killed = head.kill()
    until(lambda: head.is_another_than(killed))


def _show(name: str, kill: Callable[[], None], program: Callable[..., bool]) -> bool:
    begin = time.monotonic()
    right = program(kill)
    answer = "right" if right else "WRONG"
    print(f"{name:45} {time.monotonic() - begin:8.2f} s   {answer}", flush=True)
    return right


if __name__ == "__main__":
    sys.exit(main())
