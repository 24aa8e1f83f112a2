"""The exit codes of rayhpc's own failures, one per cause, and the error that carries one.

Used by every process that ends a node, a rank or a command.  The driver's own exit code is passed
on unchanged; 70 to 79 mean that the infrastructure failed.
"""

from __future__ import annotations

import signal
from enum import IntEnum


class ExitCode(IntEnum):
    """Why the infrastructure ended a command."""

    INTERNAL = 70
    HEAD_LOST = 71
    TOO_FEW_NODES = 72
    REFUSED = 73
    RENDEZVOUS = 74
    SCHEDULER = 75
    NODE_LOST = 76
    PERMISSION = 77
    CONFIGURATION = 78
    CANCELLED = 79


MEANING = {
    ExitCode.INTERNAL: "an error inside rayhpc",
    ExitCode.HEAD_LOST: "the head was lost or cannot be reached",
    ExitCode.TOO_FEW_NODES: "not enough nodes joined in time",
    ExitCode.REFUSED: "the cluster refused this node (another version, cluster or key)",
    ExitCode.RENDEZVOUS: "the ranks did not find each other",
    ExitCode.SCHEDULER: "a command of the batch scheduler failed",
    ExitCode.NODE_LOST: "this node's runtime ended before the program did",
    ExitCode.PERMISSION: "a file, directory or key has the wrong owner or mode",
    ExitCode.CONFIGURATION: "an option or an environment variable is wrong",
    ExitCode.CANCELLED: "cancelled, or out of time",
}


class LaunchError(Exception):
    """A cluster, node or command could not be started or ended as requested.

    Args:
        message: what is wrong and what to do, in one or a few sentences.
        code: the exit code of a command that fails with it.
    """

    def __init__(self, message: str, code: int = ExitCode.INTERNAL) -> None:
        super().__init__(message)
        self.code = code


class NoAnswerError(LaunchError):
    """The cluster has not answered in time; it goes on, and its head may be back soon."""


def exit_code_of(returncode: int) -> int:
    """A child's `returncode` (negative: the signal that ended it) as a shell reports it."""
    return 128 - returncode if returncode < 0 else returncode


def in_words(code: int) -> str:
    """The meaning of an exit code: `exit code 3`, `ended by SIGTERM`, or the cause for 70 to 79."""
    if code in MEANING:
        return f"exit code {code}: {MEANING[ExitCode(code)]}"
    if 128 < code < 128 + signal.NSIG:
        try:
            return f"ended by {signal.Signals(code - 128).name}"
        except ValueError:
            return f"ended by signal {code - 128}"
    return f"exit code {code}"
