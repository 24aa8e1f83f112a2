"""A program that uses a cluster of its own in every way at once, and ends as it is told.

`python -m tests.ends.program HOW [ADDRESS]` joins a cluster (one of its own without an address),
prints one line of JSON with the processes that it has caused, then:

    return, exit, exception, _exit    it ends so once it reads a line
    wait                              it waits in every way there is, one thread each, and prints
                                      for each way the name and text of the error that ends it
    main-get                          its main thread waits in `get`
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import rayhpc as ray


@ray.remote(num_cpus=0)
def with_children() -> list[int]:
    """This worker, and three ways to leave a process behind."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    child = subprocess.Popen(["sleep", "300"], **quiet)  # type: ignore[call-overload]
    leader = subprocess.Popen(["sleep", "300"], start_new_session=True, **quiet)  # type: ignore[call-overload]
    shell = "sleep 300 >/dev/null 2>&1 & echo $!"
    orphan = subprocess.run(["sh", "-c", shell], stdout=subprocess.PIPE, check=True)
    return [os.getpid(), child.pid, leader.pid, int(orphan.stdout)]


@ray.remote(num_cpus=0, max_retries=0)
def for_ever() -> None:
    time.sleep(300)


@ray.remote(num_cpus=0, max_retries=0)
def items() -> Iterator[int]:
    yield 1
    time.sleep(300)


@ray.remote(num_cpus=0)
def nothing() -> None:
    pass


@ray.remote(num_cpus=0)
class Actor:
    def pid(self) -> int:
        return os.getpid()

    def for_ever(self) -> None:
        time.sleep(300)


def put_large() -> None:
    block = bytes(4 << 20)
    while True:
        ray.put(block)
        time.sleep(0.01)


def submit() -> None:
    while True:
        ray.get(nothing.remote())


def iterate() -> None:
    for ref in items.options(num_returns="streaming").remote():
        ray.get(ref)


async def awaited() -> None:
    await for_ever.remote()


def ways(actor: Any) -> dict[str, Callable[[], Any]]:
    return {
        "get": lambda: ray.get(for_ever.remote()),
        "get with a timeout": lambda: ray.get(for_ever.remote(), timeout=300),
        "wait": lambda: ray.wait([for_ever.remote()]),
        "put": put_large,
        "actor call": lambda: ray.get(actor.for_ever.remote()),
        "await": lambda: asyncio.run(awaited()),
        "future": lambda: for_ever.remote().future().result(),
        "generator": iterate,
        "one task after the other": submit,
    }


def wait_in_every_way(actor: Any) -> None:
    errors: dict[str, str] = {}

    def run(name: str, way: Callable[[], Any]) -> None:
        try:
            way()
            errors[name] = "no error"
        except BaseException as error:
            errors[name] = f"{type(error).__name__}: {error}"
            if isinstance(error, ray.exceptions.RayActorError):
                print(f"{name}: {errors[name]}".replace("\n", " "), flush=True)

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in ways(actor).items()]
    for thread in threads:
        thread.start()
    print("waiting", flush=True)
    deadline = time.monotonic() + 50
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for name in ways(actor):
        errors.setdefault(name, "it hangs")
    print(json.dumps(errors), flush=True)


def main() -> None:
    how = sys.argv[1]
    address = sys.argv[2] if len(sys.argv) > 2 else "local"
    sizes: dict[str, Any] = (
        {"num_cpus": 2, "object_store_memory": 256 << 20} if address == "local" else {}
    )
    context = ray.init(address, log_to_driver=False, **sizes)
    # An environment of its own: the actor's process comes from a template.
    actor = Actor.options(runtime_env={"env_vars": {"OF_THE_ACTOR": "1"}}).remote()
    worker, *children = ray.get(with_children.remote(), timeout=30)
    facts = {
        "session_dir": context.address_info["session_dir"],
        "worker": worker,
        "actor": ray.get(actor.pid.remote(), timeout=30),
        "children": children,
    }
    print(json.dumps(facts), flush=True)
    if how not in ("wait", "main-get"):
        sys.stdin.readline()
    if how == "exit":
        sys.exit(3)
    if how == "_exit":
        os._exit(4)
    if how == "exception":
        raise ValueError("as it was told")
    if how == "wait":
        wait_in_every_way(actor)
    if how == "main-get":
        ray.get(for_ever.remote())


if __name__ == "__main__":
    main()
