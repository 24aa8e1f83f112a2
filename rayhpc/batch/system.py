"""The interface of a batch system: one object for each, in two halves.

Each folder of `rayhpc.batch` has one, and a site's own package may add one (`registry` finds them
all).  `BatchSystem` is small and quick to import, since every rank of every job uses it to find out
where it runs.  What only the submit side needs is in `Jobs`, created on demand; the commands of
`rayhpc.cli` for jobs use only that.

Nothing here asks a scheduler's controller, and nothing starts a process.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Fact

if TYPE_CHECKING:
    from rayhpc.allocation.sizing import NodeSize
    from rayhpc.batch.folder import JobFolder
    from rayhpc.batch.job_status import Explanation, JobStatus, Say
    from rayhpc.batch.request import JobRequest
    from rayhpc.machine.facts import MachineFacts


class SecretLink(Protocol):
    """A batch system's own channel for a secret from rank 0 to the other ranks."""

    def give(self, secret: bytes) -> None:
        """Rank 0: tell the others.  Raises LaunchError if nobody takes it."""

    def take(self) -> bytes:
        """Other ranks: what rank 0 has given."""
        ...

    def resizer(self) -> Resizer | None:
        """Rank 0: who gives nodes and takes them; None: the job keeps its size."""


class Resizer(Protocol):
    """The way from rank 0 to whoever can give this job more nodes, and takes some back."""

    def want(self, nodes: int) -> None:
        """So many are wanted from now on, rank 0's own included."""

    def leaving(self, timeout_s: float) -> int | None:
        """A rank that is to leave; None: none yet.  Raises EOFError if nobody is there."""

    def left(self, rank: int) -> None:
        """That rank has left the cluster, or is not in it: its node may be given back."""


Which = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Sign:
    """Whether a batch system takes jobs from this machine, and what shows it.

    `why` is the second half of a sentence: `/usr/bin/sbatch is there`.  Empty: there is no trace of
    it, so it is not mentioned.
    """

    there: bool
    why: str = ""


class BatchSystem(ABC):
    """One batch system.  Members with a default here are those that not all of them have."""

    #: As in `--scheduler NAME`, in job records and in `Allocation.scheduler`.
    name: str
    #: Its name in sentences: `SLURM kills after 30 s`.
    title: str
    #: The template for its jobs, below `templates/`; a site's own package gives the file.
    template: str | Path
    #: The program that takes extra arguments from `--NAME WORDS`; None: there is no such option.
    takes_words: str | None = None
    #: Whether its jobs continue after the command that submitted them has ended.
    outlives_submit: bool = True
    #: Whether what its jobs leave in the background goes on, and is not killed with them.
    spares_background: bool = False
    #: Launchers, as in `Allocation.launcher`, whose signals may reach every process of a rank.
    signals_all: tuple[str, ...] = ()
    #: The name of its time between SIGTERM and SIGKILL, for `rayhpc doctor`.
    grace_name: str = "time to SIGKILL"

    # -- the submit side
    @abstractmethod
    def look(self, environ: Mapping[str, str], which: Which) -> Sign:
        """Whether jobs can be submitted here.  Looks at variables, PATH and files, and may try to
        connect to a port for a second.

        Args:
            environ: this process's environment.
            which: finds a program on PATH, like `shutil.which`.
        """

    @abstractmethod
    def jobs(self) -> Jobs:
        """Its submit side.  Raises OptionError if this version has none."""

    def cluster_name(self, environ: Mapping[str, str]) -> str | None:
        """The site's name for this cluster, for `[match] cluster` in profiles; None: unknown."""
        return None

    def head_host(self, nodes: str) -> str | None:
        """The host of rank 0 in `JobStatus.nodes`; None: this machine, or unknown."""
        return nodes.replace(",", " ").split()[0] if nodes.strip() else None

    # -- inside an allocation
    @abstractmethod
    def is_inside(self, environ: Mapping[str, str]) -> bool:
        """Whether this process runs in one of its allocations."""

    @abstractmethod
    def facts(self, environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
        """What it tells this process.  Pure.

        Raises ValueError naming a variable that cannot be parsed.
        """

    def job_id(self, environ: Mapping[str, str]) -> str:
        """Its own id of the job that this process runs in; empty outside."""
        return ""

    def array_task(self, environ: Mapping[str, str]) -> str:
        """The number of the array task that this process runs in; empty outside an array."""
        return ""

    def step_command(
        self, environ: Mapping[str, str], argv: Sequence[str], nodes: int | None = None
    ) -> list[str] | None:
        """The command that runs `argv` once on each node of the allocation; only composed, not run.

        None if `argv` is to run right here: this process is already a rank, the allocation is only
        this node, or ranks are not started by a command at all.

        Args:
            environ: this process's environment.
            argv: the command of one rank.
            nodes: use this many nodes instead of all.

        Raises:
            LaunchError: its launcher is missing.
        """
        return None

    def link(self, environ: Mapping[str, str]) -> SecretLink | None:
        """Its own channel for the key from rank 0 to this rank; None: use a shared directory."""
        return None

    def grace(self, environ: Mapping[str, str]) -> Fact[float | None]:
        """Seconds from SIGTERM to SIGKILL; None: unknown."""
        return Fact(None, f"{self.title} does not say")

    def labels(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        """Labels that whoever has started this rank gives its node."""
        return {}

    def fetched_files(self, environ: Mapping[str, str]) -> Path | None:
        """Where a job leaves files that its commands fetch; None: its folder is seen from inside.

        Only of systems whose nodes may not see the job's folder.
        """
        return None

    def shares_uid(self, environ: Mapping[str, str]) -> bool:
        """Whether other users' processes may have our uid here, so that it protects nothing."""
        return False

    def advice(
        self, environ: Mapping[str, str], allocation: Allocation, size: NodeSize
    ) -> list[str]:
        """Warnings about settings that are legal but surely unintended, with remedies."""
        return []


class Jobs(ABC):
    """The submit side of one batch system: from a request to a job, and its outcome.

    Every method raises SchedulerError if the batch system fails, saying what to do.
    """

    #: Options of `rayhpc submit`, by their field of JobRequest, that it does not support.
    without: tuple[str, ...] = ()

    def __init__(self, system: BatchSystem) -> None:
        self.system = system

    @abstractmethod
    def render(self, request: JobRequest, folder: JobFolder) -> str:
        """The script that `submit` would submit."""

    @abstractmethod
    def submit(self, request: JobRequest, folder: JobFolder, script: str) -> str:
        """Start it or queue it; returns the job's id."""

    @abstractmethod
    def status(self, folders: Sequence[JobFolder]) -> dict[str, JobStatus]:
        """The state of these jobs by id, with one query for all of them.

        A job that is no longer known is left out.
        """

    @abstractmethod
    def cancel(self, folders: Sequence[JobFolder]) -> None:
        """End these jobs; those that have already ended are left alone."""

    @abstractmethod
    def explain(self, folder: JobFolder) -> Explanation:
        """Why this job is pending, running or gone."""

    @abstractmethod
    def on_head(self, folder: JobFolder, command: Sequence[str], terminal: bool) -> list[str]:
        """The command line that runs `command` on the node of the job's head."""

    def fetch_output(self, folder: JobFolder, say: Say) -> None:
        """Fetch what the job has written so far into its folder, if it is not there already.

        If it cannot be fetched, what is there can still be shown: `say` is called with the reason.
        """
        return

    def test(self, script: str) -> str:
        """Ask, without submitting, whether and when this script would run; returns a sentence."""
        from rayhpc.batch.errors import OptionError

        raise OptionError(f"{self.system.title} cannot be asked whether it would run a job")

    def notes(self, request: JobRequest) -> list[str]:
        """What the user should know before submission, in sentences."""
        from rayhpc.batch.request import left_out

        others = [f"--{name}" for name in request.further if name != self.system.name]
        options = [*left_out(request, self.without), *others]
        return [f"{self.system.title} has no {', '.join(options)}: left out"] if options else []

    def follow(self, folder: JobFolder, say: Say, quiet: bool = False) -> int:
        """Wait for the end, showing what happens unless `quiet`; returns the job's exit code.

        Ctrl-C raises KeyboardInterrupt.
        """
        from rayhpc.batch.follow import Follower, World
        from rayhpc.batch.terminal import emit, line_for, nowhere

        world = World(
            lambda: self.status([folder]).get(folder.record().id),
            lambda: self.cancel([folder]),
            nowhere if quiet else emit,
            say,
            self.system.title,
            show=line_for(os.environ),
        )
        return Follower(folder, world).run()
