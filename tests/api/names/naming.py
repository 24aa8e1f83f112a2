"""Which test stands for which names, and what most of these tests use."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import rayhpc as ray
from rayhpc.cluster_utils import Cluster
from rayhpc.util import state
from tests.api.actors.counter import wait_for

T = TypeVar("T", bound=Callable[..., Any])

# Amounts so small that no test has to wait for another's.
FAR = {"resources": {"far": 0.001}}
NEAR = {"resources": {"near": 0.001}}
# More than travels inside a message, so that it lies in the store of the node that made it.
LARGE = 300_000

_tests: dict[str, list[str]] = {}


def covers(*names: str) -> Callable[[T], T]:
    """The test below fails if one of these names did not work across two nodes."""

    def note(test: T) -> T:
        if not test.__name__.startswith("test_"):
            raise ValueError(f"{test.__name__} is not a test.")
        for name in names:
            _tests.setdefault(name, []).append(f"{test.__module__}.{test.__name__}")
        return test

    return note


def covered() -> dict[str, list[str]]:
    """Name → its tests, of all modules of this package."""
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("test_"):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(_tests)


@dataclass(frozen=True)
class Two:
    """A cluster of two nodes; `near` and `far` are their ids, this process is on the first."""

    cluster: Cluster
    near: str
    far: str

    @property
    def both(self) -> set[str]:
        """The ids of the two."""
        return {self.near, self.far}

    def row(self, node_id: str) -> dict[str, Any]:
        """What `nodes()` says of one."""
        (found,) = [x for x in ray.nodes() if x["NodeID"] == node_id]
        return found

    def ip(self, node_id: str) -> str:
        """The address of one."""
        return str(self.row(node_id)["NodeManagerAddress"])

    def session(self, node_id: str) -> str:
        """What a driver attaches to in order to be on that node."""
        (found,) = [x for x in self.cluster.list_all_nodes() if x.node_id == node_id]
        return found.node.session_dir


def here() -> str:
    """The id of the node that this code runs on."""
    return str(ray.get_runtime_context().get_node_id())


@ray.remote
def where(*_: Any) -> str:
    """The node that this ran on; arguments are only waited for."""
    return here()


@ray.remote
def block(fill: int = 1, size: int = LARGE) -> bytes:
    """An object that lies where this runs."""
    return bytes([fill]) * size


@ray.remote(num_cpus=0)
class Gate:
    """Holds whoever waits at it until it is opened."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._come = 0

    async def open(self) -> None:
        """Let all pass."""
        self._open.set()

    async def wait(self, value: Any = None) -> Any:
        """Wait, then give `value` back."""
        self._come += 1
        await self._open.wait()
        return value

    async def come(self) -> int:
        """How many have come so far."""
        return self._come


@ray.remote
def held(gate: Any) -> str:
    """Says where it runs once the gate is open; busy till then, without giving its CPU back."""
    from concurrent.futures import wait

    wait([gate.wait.remote().future()])
    return here()


# Actors that ask for any resource hold a CPU too, unless they say that they need none.
@ray.remote(num_cpus=0)
class Tally:
    """An actor with something of everything."""

    def __init__(self, start: int = 0) -> None:
        self.total = start

    def add(self, by: int = 1) -> int:
        """The new total."""
        self.total += by
        return self.total

    def node(self) -> str:
        """Where it is."""
        return here()

    def pid(self) -> int:
        """Its process."""
        return os.getpid()

    def crash(self) -> None:
        """End without a word."""
        os._exit(1)

    def items(self, count: int) -> Any:
        """Large objects, one after the other."""
        for i in range(count):
            yield bytes([i]) * LARGE


def get(ref: Any) -> Any:
    """`get` that ends when something hangs."""
    return ray.get(ref, timeout=30)


def until_idle() -> None:
    """Until what earlier tests have left behind does not decide on places any more.

    A wish goes elsewhere while leases fill what it names, and spreading evens out what is there.
    """

    def is_even() -> bool:
        nodes = [x.node_id for x in state.list_actors(filters=[("state", "=", "ALIVE")])]
        counts = [nodes.count(x["NodeID"]) for x in ray.nodes() if x["Alive"]]
        return max(counts) - min(counts) < 4

    gc.collect()
    wait_for(lambda: ray.available_resources().get("CPU") == 4)
    wait_for(is_even)


def is_gone(pid: int) -> bool:
    """Whether the process has ended; all nodes are on this machine."""
    gc.collect()
    return not os.path.exists(f"/proc/{pid}")
