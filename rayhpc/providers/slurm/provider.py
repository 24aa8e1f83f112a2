"""SLURM as a provider: raising an array's throttle asks for machines, lowering it closes the tap.

Found by `providers.registry`.  A request to the controller for each change, and one squeue for all
node types when the loop looks.  What is known of the arrays is found again by their names and
comments, so another process may go on.  The controller itself keeps the bounds: no array has more
tasks than its type may have machines, and none runs more than its throttle.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.slurm.commands import attempt, call
from rayhpc.batch.slurm.jobs import of_another_allocation
from rayhpc.batch.slurm.words import end_in_words, is_hopeless, reason_in_words, refusal
from rayhpc.elastic.types import Machine, MachineState, NodeType
from rayhpc.providers.base import (
    CapacityError,
    ClusterFacts,
    Provider,
    ProviderError,
    ProviderKind,
    RefusedError,
)
from rayhpc.providers.slurm import job
from rayhpc.providers.slurm.arrays import FORMAT, Array, Task, ranges, read

# MaxArraySize is 1001 unless a site has changed it.
_MOST_TASKS = 1000
_OF_OUR_JOB = ("RAYHPC_JOB_DIR", "RAYHPC_EXIT_FILE", "RAYHPC_ADDRESS", "SLURM_TIME_FORMAT")
_NO_ANSWER = re.compile(r"Unable to contact|Connection refused|timed out|connection failure", re.I)
_TOO_MANY = re.compile(r"accounting/QOS policy|MaxSubmit|array spec|MaxArraySize|temporarily", re.I)
# `2_1,3-7: No error`, with exit code 1, is what scontrol says of a changed array with ended tasks.
_HARMLESS = re.compile(r"already (?:finished|completing|completed)|Invalid job id|: No error", re.I)


class SlurmProvider:
    """Implements `base.Provider` for one cluster."""

    def __init__(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> None:
        self._cluster = cluster
        self._names = {kind.name: f"{cluster.name}-{kind.name}" for kind in types}
        own = job.words_like(os.environ) if cluster.options is None else job.words_in(os.environ)
        self._words = {kind.name: [*own, *job.words_of(kind)] for kind in types}
        self._arrays: dict[str, list[Array]] = {kind.name: [] for kind in types}

    # -- Provider --------------------------------------------------------------------------------
    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        """Raise throttles, and submit another array for what is in none."""
        name = node_type.name
        rest = set()
        for number in map(_number, names):
            array, index = self._find(name, number)
            if array is None:
                rest.add(number)
            elif array.tasks.get(index) is None or not array.tasks[index].is_over:
                array.wanted.add(index)
        for array in self._arrays[name]:
            if array.wanted and not array.is_closed:
                self._open_tap(array)
        if rest:
            self._submit(node_type, sorted(rest))

    def cancel(self, names: Sequence[str]) -> None:
        """Only what is pending; what has begun meanwhile is shown by `list`."""
        self._take_back(names, ["--state=PENDING"])

    def release(self, names: Sequence[str]) -> None:
        """The throttle first: else the next task would start at once."""
        self._take_back(names, [])

    def list(self) -> Sequence[Machine]:
        """One squeue for all."""
        # Others may have clusters of the same name.
        mine = [f"--user={os.getuid()}", f"--name={','.join(self._names.values())}"]
        shown = read(self._squeue(mine))
        types = {job_name: name for name, job_name in self._names.items()}
        known = {array.job for arrays in self._arrays.values() for array in arrays}
        for job_id, each in shown.items():
            if job_id not in known and each.name in types:
                self._arrays[types[each.name]].append(Array(job_id, each.base, each.size))
        for arrays in self._arrays.values():
            for array in arrays:
                if array.job in shown:
                    throttle = None if array.job in known else shown[array.job].throttle
                    array.see(shown[array.job].tasks, throttle)
        return [machine for name in self._arrays for machine in self._machines(name)]

    def explain(self, name: str) -> str:
        """What squeue says of that task, and what it means."""
        node_type = name.rpartition("-")[0]
        array, index = self._find(node_type, _number(name), closed=True)
        if array is None:
            return f"SLURM has no job for {name} (any more)"
        said = self._squeue([f"--jobs={array.job}_{index}"]).strip().split("|")
        if len(said) < 3:
            return f"SLURM no longer knows task {array.job}_{index}"
        return f"task {array.job}_{index} is {said[1]}: {said[2]}: {reason_in_words(said[2])}"

    # -- arrays ----------------------------------------------------------------------------------
    def _find(
        self, node_type: str, number: int, *, closed: bool = False
    ) -> tuple[Array | None, int]:
        for array in reversed(self._arrays.get(node_type, [])):
            index = array.index_of(number)
            if index is not None and (closed or not array.is_closed):
                return array, index
        return None, 0

    def _open_tap(self, array: Array) -> None:
        stale = array.unwanted_before(max(array.wanted))
        if stale:
            self._cancel(array, stale, ["--state=PENDING"])
        self._throttle(array)

    def _throttle(self, array: Array) -> None:
        words = [f"JobId={array.job}", f"ArrayTaskThrottle={len(array.wanted)}"]
        self._run(["scontrol", "update", *words])

    def _submit(self, kind: NodeType, numbers: Sequence[int]) -> None:
        """An array that begins with the first of them; a small one where a large one is refused."""
        base = numbers[0] - 1
        wanted = {number - base for number in numbers}
        sizes = dict.fromkeys((min(_MOST_TASKS, max(kind.max_nodes, *wanted)), max(wanted)))
        for size in sizes:
            job_id = self._sbatch(kind, base, size, len(wanted), last=size == max(wanted))
            if job_id:
                array = Array(job_id, base, size, wanted)
                array.tasks = {i: Task("PENDING") for i in range(1, size + 1)}
                self._arrays[kind.name].append(array)
                return

    def _sbatch(self, kind: NodeType, base: int, size: int, count: int, *, last: bool) -> str:
        """The job's id; empty: too large, something smaller may be accepted."""
        script = self._cluster.folder / f"{kind.name}.sh"
        try:
            script.write_text(job.script_for(self._cluster, kind))
        except OSError as error:
            raise ProviderError(f"{script}: {error.strerror}") from error
        words = [
            *("--parsable", f"--array=1-{size}%{count}", "--nodes=1", "--ntasks=1"),
            *(f"--job-name={self._names[kind.name]}", f"--comment=rayhpc base={base} size={size}"),
            *("--no-requeue", "--open-mode=append", "--export=ALL"),
            f"--output={str(self._cluster.folder).replace('%', '%%')}/{kind.name}-%A_%a.log",
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
        if not _TOO_MANY.search(said):
            raise RefusedError(text)
        if last:
            raise CapacityError(text)
        return ""

    def _take_back(self, names: Iterable[str], states: Sequence[str]) -> None:
        for array, indexes in self._grouped(names):
            array.wanted -= indexes
            if array.wanted:
                self._throttle(array)
                self._cancel(array, indexes, states)
            else:
                array.is_closed = True
                self._run(["scancel", *states, array.job])

    def _grouped(self, names: Iterable[str]) -> Iterator[tuple[Array, set[int]]]:
        found: dict[str, tuple[Array, set[int]]] = {}
        for name in names:
            array, index = self._find(name.rpartition("-")[0], _number(name), closed=True)
            if array is not None:
                found.setdefault(array.job, (array, set()))[1].add(index)
        yield from found.values()

    def _cancel(self, array: Array, indexes: Iterable[int], states: Sequence[str]) -> None:
        self._run(["scancel", *states, f"{array.job}_[{ranges(indexes)}]"])

    # -- SLURM's programs ------------------------------------------------------------------------
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

    def _machines(self, node_type: str) -> Iterator[Machine]:
        for array in self._arrays[node_type]:
            for index, task in array.tasks.items():
                if task.is_pending and index not in array.wanted:
                    continue
                yield _machine(f"{node_type}-{array.base + index}", node_type, task)


class SlurmKind(ProviderKind):
    """The provider `slurm`."""

    name = "slurm"
    title = "SLURM"
    batch_system = "slurm"

    def job_words(self, node_type: NodeType) -> list[str]:
        """Options of sbatch."""
        return job.words_of(node_type)

    def open(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> Provider:
        """For one cluster."""
        return SlurmProvider(cluster, types)


def _machine(name: str, node_type: str, task: Task) -> Machine:
    if task.is_over:
        reason = end_in_words(task.word) or task.word.lower()
        return Machine(name, node_type, MachineState.ENDED, reason=f"its job: {reason}")
    if not task.is_pending:
        return Machine(name, node_type, MachineState.RUNNING, task.node or None)
    if task.reason in ("None", "", "JobArrayTaskLimit"):
        return Machine(name, node_type, MachineState.PENDING)
    words = f"{task.reason}: {reason_in_words(task.reason)}"
    permanent = is_hopeless(task.reason)
    return Machine(name, node_type, MachineState.PENDING, None, words, permanent)


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


PROVIDER = SlurmKind()
