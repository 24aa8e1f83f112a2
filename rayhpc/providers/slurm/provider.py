"""SLURM as a provider: raising an array's throttle asks for machines, lowering it closes the tap.

Found by `providers.registry`.  A request to the controller for each change, and one squeue for all
node types when the loop looks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.slurm.commands import attempt, call
from rayhpc.batch.slurm.jobs import of_another_allocation
from rayhpc.batch.slurm.words import reason_in_words, refusal
from rayhpc.elastic.types import NodeType
from rayhpc.providers.arrays import Array, ArrayProvider, Shown, ranges
from rayhpc.providers.base import (
    CapacityError,
    ClusterFacts,
    Provider,
    ProviderError,
    ProviderKind,
    RefusedError,
)
from rayhpc.providers.slurm import job
from rayhpc.providers.slurm.listing import FORMAT, comment, read

_OF_OUR_JOB = ("RAYHPC_JOB_DIR", "RAYHPC_EXIT_FILE", "RAYHPC_ADDRESS", "SLURM_TIME_FORMAT")
_NO_ANSWER = re.compile(r"Unable to contact|Connection refused|timed out|connection failure", re.I)
_TOO_MANY = re.compile(r"accounting/QOS policy|MaxSubmit|array spec|MaxArraySize|temporarily", re.I)
# `2_1,3-7: No error`, with exit code 1, is what scontrol says of a changed array with ended tasks.
_HARMLESS = re.compile(r"already (?:finished|completing|completed)|Invalid job id|: No error", re.I)


class SlurmProvider(ArrayProvider):
    """Machines as tasks of SLURM's arrays."""

    def __init__(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> None:
        super().__init__(cluster, types)
        own = job.words_like(os.environ) if cluster.options is None else job.words_in(os.environ)
        self._words = {kind.name: [*own, *job.words_of(kind)] for kind in types}

    def submit(self, kind: NodeType, base: int, size: int, count: int) -> str:
        """One sbatch."""
        folder = self.cluster.folder
        script = folder / f"{kind.name}.sh"
        try:
            script.write_text(job.script_for(self.cluster, kind))
        except OSError as error:
            raise ProviderError(f"{script}: {error.strerror}") from error
        words = [
            *("--parsable", f"--array=1-{size}%{count}", "--nodes=1", "--ntasks=1"),
            *(f"--job-name={self.names[kind.name]}", f"--comment={comment(base, size)}"),
            *("--no-requeue", "--open-mode=append", "--export=ALL"),
            f"--output={str(folder).replace('%', '%%')}/{kind.name}-%A_%a.log",
            *self._words[kind.name],
        ]
        drop = (*_OF_OUR_JOB, *of_another_allocation(os.environ))
        try:
            done = attempt(["sbatch", *words, str(script), str(base)], drop=drop)
        except SchedulerError as error:
            raise ProviderError(str(error)) from error
        said = (done.stderr or done.stdout).strip()
        if done.returncode == 0:
            return done.stdout.strip().splitlines()[-1].split(";")[0]
        text = refusal("sbatch", said)
        if _NO_ANSWER.search(said):
            raise ProviderError(text)
        raise CapacityError(text) if _TOO_MANY.search(said) else RefusedError(text)

    def set_throttle(self, array: Array) -> None:
        """ArrayTaskThrottle."""
        words = [f"JobId={array.job}", f"ArrayTaskThrottle={len(array.wanted)}"]
        self._run(["scontrol", "update", *words])

    def cancel_tasks(self, array: Array, indexes: Iterable[int], *, pending_only: bool) -> None:
        """`scancel 12_[3-5]`."""
        self._run(["scancel", *_states(pending_only), f"{array.job}_[{ranges(indexes)}]"])

    def cancel_array(self, array: Array, *, pending_only: bool) -> None:
        """`scancel 12`."""
        self._run(["scancel", *_states(pending_only), array.job])

    def look(self) -> dict[str, Shown]:
        """One squeue; others may have clusters of the same name."""
        mine = [f"--user={os.getuid()}", f"--name={','.join(self.names.values())}"]
        return read(self._squeue(mine))

    def explain_task(self, array: Array, index: int) -> str:
        """What squeue says, and what it means."""
        said = self._squeue([f"--jobs={array.job}_{index}"]).strip().split("|")
        if len(said) < 3:
            return f"SLURM no longer knows task {array.job}_{index}"
        return f"task {array.job}_{index} is {said[1]}: {said[2]}: {reason_in_words(said[2])}"

    def _run(self, argv: Sequence[str]) -> None:
        """What it says of tasks that are over already does not matter."""
        try:
            done = attempt(argv)
        except SchedulerError as error:
            raise ProviderError(str(error)) from error
        said = done.stderr or done.stdout
        lines = [x for x in said.splitlines() if x.strip() and not _HARMLESS.search(x)]
        if done.returncode != 0 and lines:
            raise ProviderError(refusal(argv[0], "\n".join(lines)))

    def _squeue(self, which: Sequence[str]) -> str:
        words = ["--noheader", "--states=all", *which, f"--format={FORMAT}"]
        try:
            return call(["squeue", *words])
        except SchedulerError as error:
            raise ProviderError(str(error)) from error


class SlurmKind(ProviderKind):
    """The provider `slurm`."""

    name = "slurm"
    title = "SLURM"
    batch_system = "slurm"

    def job_words(self, node_type: NodeType) -> list[str]:
        """Options of sbatch."""
        return job.words_of(node_type)

    def life_seconds(self, node_type: NodeType) -> float | None:
        """Its `--time`."""
        return job.life_of(node_type)

    def open(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> Provider:
        """For one cluster."""
        return SlurmProvider(cluster, types)


def _states(pending_only: bool) -> list[str]:
    return ["--state=PENDING"] if pending_only else []


PROVIDER = SlurmKind()
