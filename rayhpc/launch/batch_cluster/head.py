"""The head of such a cluster, wherever it runs: what can be done with it.

Implemented by `job_head` and `process_head`; `choose_head` makes one.  The head itself is
`rayhpc run` without a program, told by a growth file how to grow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rayhpc.launch.growth_file import HeadNote, read_note


class Phase(Enum):
    """Where a head stands."""

    GONE = "not running"
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"


@dataclass(frozen=True)
class Condition:
    """How a head fares; `why` is a sentence about it, maybe empty."""

    phase: Phase
    why: str = ""


@dataclass(frozen=True)
class Launch:
    """What a head is started with.

    Attributes:
        name: the cluster's.
        folder: the cluster's folder.
        words: the options of its `rayhpc run`.
        setup: shell commands to run first.
        work_dir: where programs run.
    """

    name: str
    folder: Path
    words: tuple[str, ...]
    setup: tuple[str, ...]
    work_dir: str


class Head(ABC):
    """The head of one cluster, wherever it is.

    Args:
        folder: the cluster's folder.
    """

    #: Where it is, as the second half of a sentence.
    where: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(self) -> HeadNote | None:
        """What it says about itself; None: it does not serve."""
        return read_note(self.folder)

    @abstractmethod
    def start(self, launch: Launch) -> None:
        """Start it, or queue it.  Raises LaunchError."""

    @abstractmethod
    def condition(self) -> Condition:
        """How it fares.  Raises LaunchError if that cannot be found out."""

    @abstractmethod
    def command(self, words: Sequence[str], *, terminal: bool) -> list[str]:
        """The command here that runs `words` on its machine.  Raises LaunchError."""

    @abstractmethod
    def stop(self) -> None:
        """Have it end, if it runs or waits; does not wait for that.  Raises LaunchError."""

    @abstractmethod
    def log(self) -> Path:
        """The file that it writes its messages to."""

    def explain(self) -> list[str]:
        """Why it waits or has ended, in sentences."""
        why = self.condition().why
        return [why] if why else []

    def told(self) -> list[str]:
        """What its batch system says about its job, if it has one, in sentences."""
        return []
