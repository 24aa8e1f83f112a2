"""A job's state, and what a job's folder says about it.

Used by the submit side of every batch system (`system.Jobs`), by `follow` and by the commands for
jobs.  Never asks a batch system.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from rayhpc.batch.folder import JobFolder, JobRecord, Summary
from rayhpc.exit_codes import in_words

# A job with a summary is over, unless a signal ended it less than this long ago: then it may be
# requeued.
_REQUEUE_S = 3600.0


class State(str, Enum):
    """Where a job is in its life cycle."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Whether this state is final."""
        return self not in (State.PENDING, State.RUNNING)


@dataclass(frozen=True)
class JobStatus:
    """A job as its batch system sees it now.

    `word` is the batch system's own name for the state, `reason` a sentence; `start` is expected or
    actual, in seconds since 1970; `hopeless` marks a job that waits for something that never comes,
    `closing` one whose program has ended while its batch system is still taking it down.
    """

    id: str
    state: State
    word: str
    reason: str = ""
    start: float | None = None
    nodes: str = ""
    exit_code: int | None = None
    hopeless: bool = False
    closing: bool = False

    @classmethod
    def of_summary(cls, job_id: str, summary: Summary) -> JobStatus:
        """The state of a job whose folder has its outcome."""
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
    """Why a job is in its state, and what would start sooner, in sentences."""

    why: list[str]
    sooner: list[str]


Say = Callable[[str], None]


def told_by_folders(
    folders: Sequence[JobFolder],
) -> tuple[dict[str, JobStatus], dict[str, JobFolder]]:
    """Which of these jobs are over for good, according to their folders; and the others."""
    found: dict[str, JobStatus] = {}
    unclear: dict[str, JobFolder] = {}
    for folder in folders:
        ended = ended_status(folder)
        if ended is not None:
            found[ended.id] = ended
        elif folder.record().id:
            unclear[folder.record().id] = folder
    return found, unclear


def ended_status(folder: JobFolder) -> JobStatus | None:
    """What the folder says about a job that is over for good; None: it does not say."""
    worst = worst_end(folder)
    if worst is None or (worst.exit_code > 128 and time.time() - worst.ended < _REQUEUE_S):
        return None
    return JobStatus.of_summary(folder.record().id, worst)


def worst_end(folder: JobFolder) -> Summary | None:
    """The outcome of the job, or of an array's worst task; None while it has not ended."""
    tasks: list[int | None] = list(folder.record().array) or [None]
    summaries = [folder.summary(task) for task in tasks]
    ended = [each for each in summaries if each is not None]
    return max(ended, key=lambda each: each.exit_code) if len(ended) == len(summaries) else None


def as_folder_tells(status: JobStatus, folder: JobFolder) -> JobStatus:
    """A job reported as running, but whose script has recorded its end, becomes closing."""
    ended = status.state is State.RUNNING and worst_end(folder) is not None
    return replace(status, closing=True) if ended else status


def forgotten(title: str, record: JobRecord) -> Explanation:
    """The explanation for a job that neither its folder nor its batch system knows about."""
    return Explanation(
        [f"{title} no longer knows job {record.id or record.name}, and it left no summary"],
        ["look at its output with `rayhpc logs`; submit it again if you still need it"],
    )


def present(status: JobStatus) -> str:
    """The state of a job that does not wait, as a sentence."""
    if not status.state.ended:
        return f"job {status.id} runs on {status.nodes or 'its nodes'} ({status.word})"
    code = "" if status.exit_code is None else f", {in_words(status.exit_code)}"
    why = f": {status.reason}" if status.reason else ""
    return f"job {status.id} is over ({status.word}{code}){why}"
