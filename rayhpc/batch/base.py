"""What every batch system must be able to do for the commands, and what a job's state looks like.

Implemented by `local` and `slurm`; used by `rayhpc.cli`.  A new batch system is one more class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Protocol

from rayhpc.batch.folder import JobFolder, Summary
from rayhpc.batch.request import JobRequest


class State(str, Enum):
    """Where a job is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self not in (State.PENDING, State.RUNNING)


@dataclass(frozen=True)
class JobStatus:
    """A job as its batch system sees it now.

    `word` is the batch system's own name of the state, `reason` a sentence; `start` is expected or
    real, in seconds since 1970; `hopeless` is a job that waits for what never comes.
    """

    id: str
    state: State
    word: str
    reason: str = ""
    start: float | None = None
    nodes: str = ""
    exit_code: int | None = None
    hopeless: bool = False

    @classmethod
    def of_summary(cls, job_id: str, summary: Summary) -> JobStatus:
        """The state of a job whose folder has its end."""
        failed = summary.exit_code != 0
        return cls(
            job_id,
            State.FAILED if failed else State.DONE,
            "FAILED" if failed else "COMPLETED",
            start=summary.started,
            nodes=summary.nodes,
            exit_code=summary.exit_code,
        )

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "state": self.state.value}


@dataclass(frozen=True)
class Explanation:
    """Why a job is where it is, and what would start sooner, in sentences."""

    why: list[str]
    sooner: list[str]


Say = Callable[[str], None]


class Scheduler(Protocol):
    """One batch system, seen from the submit side.

    Every method raises SchedulerError where the batch system fails, saying what to do.
    """

    name: str

    def render(self, request: JobRequest, folder: JobFolder) -> str:
        """The script that `submit` would hand over."""
        ...

    def notes(self, request: JobRequest) -> list[str]:
        """What the user should know before it is submitted, in sentences."""
        ...

    def test(self, script: str) -> str:
        """Ask, without submitting, whether and when this script would run; a sentence."""
        ...

    def submit(self, request: JobRequest, folder: JobFolder, script: str) -> str:
        """Start it or queue it; the job's id."""
        ...

    def follow(self, folder: JobFolder, say: Say, quiet: bool = False) -> int:
        """Wait for the end, and show what happens unless `quiet`; the job's exit code.

        Ctrl-C raises KeyboardInterrupt.
        """
        ...

    def status(self, folders: Sequence[JobFolder]) -> dict[str, JobStatus]:
        """The state of these jobs by id, asked once for all of them."""
        ...

    def cancel(self, folders: Sequence[JobFolder]) -> None:
        """End these jobs."""
        ...

    def explain(self, folder: JobFolder) -> Explanation:
        """Why this job is pending, running or gone."""
        ...

    def inside(self, folder: JobFolder, command: Sequence[str], terminal: bool) -> list[str]:
        """The command line that runs `command` on the node of the job's head."""
        ...
