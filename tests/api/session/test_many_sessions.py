"""A program that opens and leaves many sessions keeps nothing of those that it has left."""

from __future__ import annotations

import json
import subprocess
import sys

_PROGRAM = """
import gc, json, os
import rayhpc as ray

@ray.remote
def items(count):
    yield from range(count)

@ray.remote
def waits(refs):
    return ray.get(refs[0])

@ray.remote(num_cpus=0)
class Actor:
    def value(self): return 1
    def items(self, count): yield from range(count)
    def waits(self, refs): return ray.get(refs[0])

def use():
    never = waits.remote([waits.remote([items.remote(1).completed()])])
    streaming = {"num_returns": "streaming"}
    assert ray.get(list(items.options(**streaming).remote(3))) == [0, 1, 2]
    half = items.options(**streaming).remote(3)
    next(half)
    actor = Actor.remote()
    assert ray.get(actor.value.remote()) == 1
    assert ray.get(list(actor.items.options(**streaming).remote(2))) == [0, 1]
    stuck = Actor.options(num_cpus=100).remote()
    return half, actor, stuck, stuck.value.remote(), stuck.waits.remote([never])

open_ = []
for _ in range(7):
    ray.init(num_cpus=1, log_to_driver=False)
    kept = use()
    ray.shutdown()
    kept = None
    gc.collect()
    open_.append(len(os.listdir("/proc/self/fd")))
print(json.dumps(open_))
"""


def test_descriptors_do_not_grow_with_sessions() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True, timeout=120, check=True
    )
    counts = json.loads(done.stdout)
    assert counts[-1] <= counts[1], counts
