"""A job as the fake controller keeps it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED")


@dataclass
class Job:
    """One job, or one task of an array; times in seconds since 1970."""

    id: int
    script: str
    options: dict[str, object]
    environ: dict[str, str]
    arguments: list[str]
    nodes: int
    cpus: int
    submitted: float = field(default_factory=time.time)
    array: int = 0
    task: int | None = None
    throttle: int = 0
    state: str = "PENDING"
    reason: str = "None"
    allotted: list[str] = field(default_factory=list)
    started: float = 0.0
    ended: float = 0.0
    restarts: int = 0
    code: int = 0
    cancelled: str = ""
    kill_at: float = 0.0
    not_before: float = 0.0
    keepers: dict[int, str] = field(default_factory=dict)
    batch: int = 0
    steps: int = 0

    @property
    def over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in ENDED

    @property
    def label(self) -> str:
        """As squeue's %i shows it."""
        return str(self.id) if self.task is None else f"{self.array}_{self.task}"

    @property
    def names(self) -> set[str]:
        """All that a command may call it: its number, that of its array, and `12_3`."""
        return {str(self.id), str(self.array or self.id), self.label}

    def row(self) -> dict[str, object]:
        """For the programs."""
        return {
            "id": self.id,
            "label": self.label,
            "array": self.array or self.id,
            "task": "N/A" if self.task is None else self.task,
            "state": "COMPLETING" if self.cancelled and not self.over else self.state,
            "reason": self.reason if self.state == "PENDING" else "None",
            "start": self.started,
            "nodes": hostlist(self.allotted),
            "code": self.code,
            "partition": self.options["partition"],
            "name": self.options["job_name"] or "job",
            "comment": self.options["comment"] or "",
            "throttle": self.throttle,
        }


def hostlist(names: list[str]) -> str:
    """`node[1-3]` for node1, node2, node3."""
    numbers = sorted(int(name.removeprefix("node")) for name in names)
    if len(numbers) < 2:
        return "".join(names)
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"node[{numbers[0]}-{numbers[-1]}]"
    return f"node[{','.join(map(str, numbers))}]"
