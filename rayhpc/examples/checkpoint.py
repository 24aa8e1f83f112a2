"""A program that can be stopped at any time and continues where it was.

rayhpc template show ray_requeue > ray_requeue.sh && sbatch ray_requeue.sh
"""

import json
import os
import signal
import sys
import time

import ray

PATH = os.environ.get("CHECKPOINT", "checkpoint.json")
STEPS = int(os.environ.get("STEPS", "20"))


def load():
    try:
        with open(PATH) as file:
            return json.load(file)
    except FileNotFoundError:
        return {"step": 0, "total": 0}


def save(state):
    with open(PATH + ".part", "w") as file:
        json.dump(state, file)
    os.replace(PATH + ".part", PATH)  # whole or not at all


@ray.remote
def square(x):
    time.sleep(0.1)
    return x * x


def main():
    # SLURM sends it before it takes the nodes away; every finished step has been saved by then.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    ray.init(address="auto")
    state = load()
    print(f"starting at step {state['step']}", flush=True)
    while state["step"] < STEPS:
        state["total"] += sum(ray.get([square.remote(state["step"]) for _ in range(4)]))
        state["step"] += 1
        save(state)
    print(f"total {state['total']}")


if __name__ == "__main__":
    main()
