"""Recordings of programs that never ran: as many tasks on as many nodes as a test wants.

`python -m tests.observe.generator FILE [TASKS [NODES]]` writes one.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rayhpc.observe.recording import VERSION, ActorFacts, JobFacts, Recording, write
from rayhpc.wire import runs
from rayhpc.wire.messages.cluster import Moved
from rayhpc.wire.messages.common import UNIT, NodeInfo
from rayhpc.wire.messages.listings import NodeHistory, NodeSample, NodeState, WorkerRow
from rayhpc.wire.messages.task_runs import RunPage
from rayhpc.wire.messages.tasks import TaskMore

BEGIN = 1_700_000_000.0
NONCE = b"n" * 12
DRIVER = 1 << 32 | 1
_REPORT_S = 0.25


def task_id(number: int) -> bytes:
    """The id of the driver's task of that number."""
    return DRIVER.to_bytes(8, "big") + number.to_bytes(8, "big") + NONCE


class Made:
    """A recording that is put together run by run.

    Args:
        nodes: how many nodes.
        cpus: how many CPUs each has.
        gpus: how many GPUs each has.
        names: what the nodes are called.
    """

    def __init__(
        self, nodes: int = 1, cpus: int = 4, gpus: int = 0, names: Iterable[str] = ()
    ) -> None:
        self.nodes = [
            node_state(i + 1, cpus, gpus, name)
            for i, name in enumerate([*names, *(f"n{x:03}" for x in range(nodes))][:nodes])
        ]
        self.cpus = cpus
        self.begin, self.end = BEGIN, BEGIN
        self.actors: list[ActorFacts] = []
        self.ended: list[WorkerRow] = []
        self.history: list[NodeHistory] = []
        self.tracebacks: dict[str, str] = {}
        self.notes: list[str] = []
        self.command = ["python", "train.py"]
        self._flat: dict[int, list[Any]] = {}
        self._number = 0

    def run(
        self,
        function: str,
        start: float,
        seconds: float,
        node: int = 0,
        slot: int = 0,
        *,
        sources: Iterable[int] = (),
        parent: int = 0,
        number: int = 0,
        attempt: int = 0,
        error: str = "",
        actor: bytes = b"",
        cpus: float = 1.0,
        gpus: float = 0.0,
        waited: float = 0.0,
        submitted: float | None = None,
        sent: int = 0,
    ) -> int:
        """One run, `start` seconds after the beginning, on a node's worker number `slot`."""
        if not number:
            self._number += 1
            number = self._number
        more = TaskMore(parent=task_id(parent) if parent else b"", packed=sent)
        worker = (node + 1) << 32 | slot + 10
        self._flat.setdefault(worker, []).extend(
            (
                task_id(number),
                start,
                seconds,
                more if parent or sent else None,
                b"".join(task_id(x)[:16] for x in sources),
                waited,
                0.0 if submitted is None else self.begin + submitted,
                function,
                1,
                actor,
                attempt,
                error,
                (int(cpus * UNIT), int(gpus * UNIT)),
            )
        )
        self.end = max(self.end, self.begin + start + seconds)
        return number

    def recording(self, **job: Any) -> Recording:
        """What was put together so far."""
        known = {
            "started": self.begin,
            "ended": self.end,
            "exit_code": 0,
            "asked_nodes": len(self.nodes),
        }
        return Recording(
            version=VERSION,
            job=JobFacts(command=self.command, **{**known, **job}),
            nodes=self.nodes,
            history=self.history,
            actors=self.actors,
            ended_workers=self.ended,
            demand=[],
            pages=[RunPage([x]) for x in self._chunks()],
            notes=self.notes,
        )

    def _chunks(self) -> Iterable[bytes]:
        """As workers report: what ended within a quarter of a second goes together."""
        width = runs.WIDTH
        tracebacks = dict(self.tracebacks)
        for worker, flat in self._flat.items():
            parts: dict[int, list[Any]] = {}
            for at in range(0, len(flat), width):
                slot = int((flat[at + 1] + flat[at + 2]) / _REPORT_S)
                parts.setdefault(slot, []).extend(flat[at : at + width])
            for part in parts.values():
                yield runs.pack(part, worker, worker & 0xFFFF, self.begin, tracebacks)
                tracebacks = {}


def node_state(number: int, cpus: int, gpus: int = 0, name: str = "") -> NodeState:
    """A living node."""
    total = {"CPU": cpus * UNIT, "memory": 64 * 10**9 * UNIT}
    if gpus:
        total["GPU"] = gpus * UNIT
    info = NodeInfo(
        number=number,
        node_id=f"{number:056x}",
        ip=f"10.0.{number // 250}.{number % 250 + 1}",
        hostname=name or f"n{number:03}",
        endpoints=[],
        key=b"",
        total=total,
        labels={},
        store_bytes=16 * 10**9,
        is_head=number == 1,
        pid=1,
        session_dir="",
    )
    return NodeState(info=info, alive=True, available=total)


def large(tasks: int = 1_000_000, nodes: int = 100, cpus: int = 16) -> Recording:
    """A program of many tasks of three functions on many nodes, the last ones long."""
    chance = random.Random(7)
    made = Made(nodes, cpus)
    free = [(0.0, node, slot) for node in range(nodes) for slot in range(cpus)]
    times = [0.5 + chance.random() for _ in free]
    for i in range(tasks):
        place = i % len(free)
        _, node, slot = free[place]
        load = chance.random() < 0.1
        seconds = chance.lognormvariate(-2.6, 0.5) * (0.3 if load else 1.0)
        if i >= tasks - 40:
            seconds = 20.0
        name = "load" if load else ("train.<locals>.step" if i % 7 else "evaluate")
        sources = [chance.randint(max(1, i - 5000), i)] if i % 5 == 4 else []
        error = "ValueError at train.py:12 in step" if chance.random() < 0.0005 else ""
        begin, come = times[place], {"sources": sources, "error": error}
        made.run(name, begin, seconds, node, slot, submitted=0.4 * begin, **come)
        times[place] += seconds + 0.0005
    made.tracebacks["ValueError at train.py:12 in step"] = "Traceback …\nValueError: bad batch"
    span = made.end - made.begin
    for node in range(nodes):
        made.history.append(_history(node + 1, span, cpus, chance))
    return made.recording(time_limit=made.end + 1_000, id="4711", scheduler="slurm")


def _history(node: int, span: float, cpus: int, chance: random.Random) -> NodeHistory:
    samples = []
    for i in range(200):
        used = int(8e9 * min(1.0, i / 60) * (0.9 + 0.2 * chance.random()))
        spilled = int(4e7 * max(0, i - 150)) if node % 10 == 0 else 0
        moved = Moved(i * 5, i * 5 * 10**7, spilled // 10**7, spilled)
        memory = int(used + 2e9 * cpus * min(1.0, i / 80) * chance.random()), 64 * 10**9
        sample = NodeSample(BEGIN + span * i / 200, UNIT, 0, used, spilled, cpus, moved, *memory)
        samples.append(sample)
    return NodeHistory(node, span / 200, samples)


if __name__ == "__main__":
    write(large(*map(int, sys.argv[2:])), Path(sys.argv[1]))
