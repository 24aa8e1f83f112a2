"""`list_logs` and `get_log`: what workers and raylets have written, read through their raylets.

Used by programs.  Each node keeps one file of whole lines, each with its time and who wrote it, and
the one before it once it is full: what a worker printed is found by its pid there.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections import deque
from collections.abc import Callable, Iterator

from rayhpc.api.state import schema
from rayhpc.api.state.sources import Sources
from rayhpc.util.state import listing

# The one file of a node, and its group in `list_logs`.
FILE, GROUP = "node.log", "raylet"
_PIECE_BYTES = 1 << 20
_FOLLOW_EVERY_S = 0.5
# As the raylet writes what a worker printed: time, (name pid=1), text.
_PRINTED = re.compile(rb"\S+ \S+ \((.*?) pid=(\d+)\) (.*)", re.DOTALL)

Keep = Callable[[bytes], "bytes | None"]


def list_logs(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    glob_filter: str | None = None,
    timeout: float = listing.DEFAULT_RPC_TIMEOUT,
) -> dict[str, list[str]]:
    """The log files of a node, by group.

    Args:
        address: the cluster, if this process is not connected to one.
        node_id: the node; or give `node_ip`.
        node_ip: its address.
        glob_filter: a pattern that the names must match.
        timeout: seconds to wait for an answer.

    Raises:
        ValueError: there is no such node.
        GetTimeoutError: no answer in time.
    """
    _node(address, node_id, node_ip, timeout)
    return {GROUP: [FILE]} if fnmatch.fnmatch(FILE, glob_filter or "*") else {}


def get_log(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    filename: str | None = None,
    actor_id: str | None = None,
    task_id: str | None = None,
    pid: int | None = None,
    follow: bool = False,
    tail: int = -1,
    timeout: float = listing.DEFAULT_RPC_TIMEOUT,
    suffix: str = "out",
    encoding: str | None = "utf-8",
    errors: str = "strict",
    submission_id: str | None = None,
    attempt_number: int = 0,
    _interval: float | None = None,
) -> Iterator[str | bytes]:
    """What a node, worker, actor or task has written: pieces of text, each of whole lines.

    Args:
        address: the cluster, if this process is not connected to one.
        node_id, node_ip: the node, for `filename` and `pid`.
        filename: a file that `list_logs` names: all that the node's workers printed, and the
            raylet's own messages, with time and writer.
        actor_id: an actor, in its current or last process.
        task_id: a task or call; with the lines of others of that name, or of that actor, in its
            process.
        pid: a worker, by its pid.
        follow: go on with what is written from now on, until the caller stops.
        tail: only so many of the latest lines; -1: all that the node still has.
        timeout: seconds to wait for an answer.
        suffix: exists in Ray; stdout and stderr lie in one file, in their order.
        encoding: None: bytes.
        errors: what to do with bytes that are no such text, as for `bytes.decode`.
        submission_id: exists in Ray; jobs of a batch system have `rayhpc logs`.
        attempt_number: which attempt of a task that has run several times.
        _interval: seconds between two looks while following.

    Raises:
        ValueError: nothing says whose log, or there is no such node, actor, task or file.
        GetTimeoutError: no answer in time.
    """
    if actor_id is not None:
        actor = listing.get_actor(actor_id, address, timeout)
        if actor is None or not actor.pid:
            raise ValueError(f"no actor {actor_id} has a process yet: list_actors() shows them.")
        node_id, keep = actor.node_id, _printed_by(actor.pid)
    elif task_id is not None:
        task = _attempt(task_id, attempt_number, address, timeout)
        name = task.name if task.type == "NORMAL_TASK" else ""  # its lines are its actor's
        node_id, keep = task.node_id, _printed_by(task.worker_pid or 0, name)
    elif pid is not None:
        keep = _printed_by(pid)
    elif filename == FILE:
        keep = _whole
    else:
        what = f"{filename!r} is no log file" if filename else "nothing says whose log is meant"
        raise ValueError(
            f"{what}: give filename={FILE!r} with a node, or a pid, actor_id or task_id."
        )
    sources, node = _node(address, node_id, node_ip, timeout)
    pieces = _pieces(sources, node, keep, tail, _interval or _FOLLOW_EVERY_S, follow)
    return (x if encoding is None else x.decode(encoding, errors) for x in pieces)


def _node(
    address: str | None, node_id: str | None, node_ip: str | None, timeout: float
) -> tuple[Sources, int]:
    """The cluster, and the node's number there."""
    if node_id is None and node_ip is None:
        raise ValueError("At least one of node ip and node id is required.")
    sources = listing.sources(address, timeout)
    for number, state in sources.raw_nodes().items():
        if state.alive and (state.info.node_id == node_id or state.info.ip == node_ip):
            return sources, number
    raise ValueError(f"no living node is {node_id or node_ip}: list_nodes() shows them.")


def _attempt(task_id: str, attempt: int, address: str | None, timeout: float) -> schema.TaskState:
    found = listing.get_task(task_id, address, timeout)
    rows = found if isinstance(found, list) else [found]
    for row in rows:
        if row is not None and row.attempt_number == attempt and row.worker_pid:
            return row
    raise ValueError(f"no process is known that ran attempt {attempt} of task {task_id}.")


def _whole(line: bytes) -> bytes:
    return line


def _printed_by(pid: int, name: str = "") -> Keep:
    """What remains of a worker's lines (while it ran `name`); None: a line is of others."""
    wanted = str(pid).encode(), name.encode()

    def keep(line: bytes) -> bytes | None:
        match = _PRINTED.fullmatch(line)
        if match is None or match[2] != wanted[0] or (name and match[1] != wanted[1]):
            return None
        return match[3]

    return keep


def _pieces(
    sources: Sources, node: int, keep: Keep, tail: int, every: float, follow: bool
) -> Iterator[bytes]:
    lines: deque[bytes] = deque(maxlen=None if tail < 0 else tail)
    at, rest = 0, b""
    is_behind = True
    while True:
        piece = sources.log_piece(node, at, _PIECE_BYTES)
        if piece.end < at:  # a new file has been begun
            at, rest = 0, b""
            continue
        at += len(piece.data)
        *whole, rest = (rest + piece.data).split(b"\n")
        lines.extend(kept for x in whole if (kept := keep(x)) is not None)
        is_behind = is_behind and at < piece.end
        if is_behind and piece.data:
            continue
        if lines:
            yield b"".join(x + b"\n" for x in lines)
        lines = deque()  # what comes from now on is all shown
        if not follow:
            return
        if not piece.data:
            time.sleep(every)
