"""The raw facts of one cluster's life, and the file that keeps them afterwards.

Made by `launch.last_look`, read by `facts`.  Runs stay packed, as the raylets kept them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.machine import whole_file
from rayhpc.wire.messages.listings import NodeHistory, NodeState, WorkerRow
from rayhpc.wire.messages.task_runs import RunPage

VERSION = 1


class JobFacts(msgspec.Struct, frozen=True):
    """The program and what it ran on; times in seconds since 1970.

    `asked_nodes` is how many were requested (0: unknown), `exit_code` is None while it runs,
    `time_limit` when the allocation ends (0: never), `scheduler` and `id` as in the job's folder.
    """

    command: list[str]
    started: float
    ended: float
    exit_code: int | None = None
    asked_nodes: int = 0
    time_limit: float = 0.0
    scheduler: str = ""
    id: str = ""
    version: str = ""


class ActorFacts(msgspec.Struct, frozen=True):
    """One actor; times in seconds since 1970, `ended` 0 while it lives."""

    actor: bytes
    class_name: str
    name: str
    state: str
    node_id: str
    pid: int
    incarnation: int
    reason: str
    started: float
    ended: float


class Recording(msgspec.Struct, frozen=True):
    """Everything known about one cluster.

    `ended_workers` are those that ended before the cluster did; `demand` lists (resources, how many
    waited, reason) at the end; `notes` are sentences about data that is missing.
    """

    version: int
    job: JobFacts
    nodes: list[NodeState]
    history: list[NodeHistory]
    actors: list[ActorFacts]
    ended_workers: list[WorkerRow]
    demand: list[tuple[dict[str, int], int, str]]
    pages: list[RunPage]
    notes: list[str] = []


def write(recording: Recording, path: Path, mode: int = 0o600) -> None:
    """Write it atomically.

    Args:
        recording: what to write.
        path: where.
        mode: who may read it; usually this user alone.

    Raises:
        OSError: it cannot be written.
    """
    whole_file.write(path, msgspec.msgpack.encode(recording), mode)


def read(path: Path) -> Recording:
    """Read a recording.

    Raises:
        LaunchError: it is not a recording, or is of another version.
        OSError: it cannot be read.
    """
    try:
        recording = msgspec.msgpack.decode(path.read_bytes(), type=Recording)
    except msgspec.DecodeError as error:
        raise LaunchError(
            f"{path} is not a recording that this version of rayhpc reads ({error})",
            ExitCode.CONFIGURATION,
        ) from None
    if recording.version != VERSION:
        raise LaunchError(
            f"{path} was made by another version of rayhpc: make the report with that one",
            ExitCode.CONFIGURATION,
        )
    return recording
