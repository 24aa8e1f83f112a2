"""Grid Engine as a provider: raising an array job's `-tc` asks for machines, lowering it closes it.

Found by `providers.registry`.  A request to the qmaster for each change, and one qstat for all node
types when the loop looks.
"""

from __future__ import annotations

import getpass
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.sge.commands import attempt
from rayhpc.batch.sge.words import is_deleted, is_failed, refusal, state_of
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.providers.arrays import Array, ArrayProvider, Shown, Task, ranges
from rayhpc.providers.base import (
    CapacityError,
    ClusterFacts,
    Provider,
    ProviderError,
    ProviderKind,
    RefusedError,
)
from rayhpc.providers.sge import job

_OF_OUR_JOB = (
    *("JOB_ID", "SGE_TASK_ID", "PE_HOSTFILE", "RAYHPC_STEP", "RAYHPC_JOB_DIR", "RAYHPC_EXIT_FILE"),
    *("RAYHPC_ADDRESS", "RAYHPC_RANK", "RAYHPC_SIZE", "RAYHPC_HOSTS"),
)
_NO_ANSWER = re.compile(
    r"unable to (contact|send)|got no connection|can't get config|no answer", re.I
)
_TOO_MANY = re.compile(r"max_aj_tasks|max_u_jobs|max_jobs|max\. number of|limit", re.I)
_HARMLESS = re.compile(r"does not exist|do not exist|already in deletion|no modif", re.I)
_CONCURRENCY = re.compile(r"^maximum concurrency:\s+(\d+)", re.MULTILINE)
_ERROR = re.compile(r"^error reason\s+\d+:\s*(.*)", re.MULTILINE)
# What our jobs are called: the name, the base and the size.
_NAME = re.compile(r"(.+)\.b(\d+)\.s(\d+)")


class SgeProvider(ArrayProvider):
    """Machines as tasks of Grid Engine's array jobs."""

    def __init__(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> None:
        super().__init__(cluster, types)
        own = job.words_like(os.environ) if cluster.options is None else []
        self._words = {kind.name: [*own, *job.words_of(kind)] for kind in types}

    def submit(self, kind: NodeType, base: int, size: int, count: int) -> str:
        """One qsub."""
        folder = self.cluster.folder
        script = folder / f"{kind.name}.sh"
        try:
            script.write_text(job.script_for(self.cluster, kind))
        except OSError as error:
            raise ProviderError(f"{script}: {error.strerror}") from error
        words = [
            *("-terse", "-t", f"1-{size}", "-tc", str(count), "-S", "/bin/bash", "-V"),
            *("-N", f"{self.names[kind.name]}.b{base}.s{size}", "-r", "n", "-notify", "-w", "e"),
            *(
                "-wd",
                self.cluster.work_dir,
                "-j",
                "y",
                "-o",
                f"{folder}/{kind.name}-$JOB_ID.$TASK_ID.log",
            ),
            *self._words[kind.name],
        ]
        done = self._attempt(["qsub", *words, str(script), str(base)], drop=_OF_OUR_JOB)
        said = (done.stderr or done.stdout).strip()
        if done.returncode == 0:
            return done.stdout.strip().splitlines()[-1].partition(".")[0]
        text = refusal("qsub", said)
        if _NO_ANSWER.search(said):
            raise ProviderError(text)
        raise CapacityError(text) if _TOO_MANY.search(said) else RefusedError(text)

    def set_throttle(self, array: Array) -> None:
        """`qalter -tc`."""
        self._run(["qalter", "-tc", str(len(array.wanted)), array.job])

    def cancel_tasks(self, array: Array, indexes: Iterable[int], *, pending_only: bool) -> None:
        """`qdel 12 -t 3-5`, for each range; what runs is spared if only the pending are meant."""
        chosen = [i for i in indexes if not pending_only or _waits(array, i)]
        for part in ranges(chosen).split(","):
            if part:
                self._run(["qdel", array.job, "-t", part])

    def cancel_array(self, array: Array, *, pending_only: bool) -> None:
        """`qdel 12`."""
        if pending_only and any(not _waits(array, i) for i in array.tasks):
            self.cancel_tasks(array, array.tasks, pending_only=True)
        else:
            self._run(["qdel", array.job])

    def look(self) -> dict[str, Shown]:
        """One qstat; what it does not show any more has ended."""
        done = self._attempt(["qstat", "-xml", "-g", "d", "-u", getpass.getuser()])
        if done.returncode != 0:
            raise ProviderError(refusal("qstat", done.stderr or done.stdout))
        shown = read(done.stdout)
        for number in shown.keys() - {array.job for _, array in self.arrays()}:
            shown[number].throttle = self._throttle_of(number)
        for name, array in self.arrays():
            each = shown.setdefault(array.job, Shown(name, array.base, array.size))
            gone = [i for i in array.tasks if i not in each.tasks]
            each.tasks.update(dict.fromkeys(gone, Task(MachineState.ENDED, reason=_ENDED)))
        return shown

    def explain_task(self, array: Array, index: int) -> str:
        """What the scheduler says about it now."""
        told = _ERROR.findall(self._attempt(["qstat", "-j", array.job]).stdout)
        if told:
            return f"task {array.job}.{index}: {told[0]}"
        done = self._attempt(["qalter", "-w", "p", array.job])
        said = "; ".join(x for x in (done.stdout + done.stderr).splitlines() if x.strip())
        return f"task {array.job}.{index}: {said or 'Grid Engine says nothing about it'}"

    def _throttle_of(self, number: str) -> int:
        """Of an array that another process has submitted."""
        told = _CONCURRENCY.search(self._attempt(["qstat", "-j", number]).stdout)
        return int(told[1]) if told else 0

    def _run(self, argv: Sequence[str]) -> None:
        """What it says of tasks that are over already does not matter."""
        done = self._attempt(argv)
        said = (done.stdout + done.stderr).splitlines()
        bad = [x for x in said if x.startswith(("denied", "error")) and not _HARMLESS.search(x)]
        if done.returncode != 0 and (bad or _NO_ANSWER.search("\n".join(said))):
            raise ProviderError(refusal(argv[0], "\n".join(bad or said)))

    def _attempt(
        self, argv: Sequence[str], *, drop: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        try:
            return attempt(argv, drop=drop)
        except SchedulerError as error:
            raise ProviderError(str(error)) from error


class SgeKind(ProviderKind):
    """The provider `sge`."""

    name = "sge"
    title = "Grid Engine"
    batch_system = "sge"

    def job_words(self, node_type: NodeType) -> list[str]:
        """Arguments of qsub."""
        return job.words_of(node_type)

    def life_seconds(self, node_type: NodeType) -> float | None:
        """Its `-l h_rt`."""
        return job.life_of(node_type)

    def open(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> Provider:
        """For one cluster."""
        return SgeProvider(cluster, types)


_ENDED = "its job has ended"


def read(text: str) -> dict[str, Shown]:
    """Our arrays in qstat's XML, by job number.

    The throttle is not shown.

    Raises:
        ProviderError: it is not qstat's XML.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ProviderError(f"qstat: {error}: it printed {text[:80]!r}") from error
    found: dict[str, Shown] = {}
    for entry in root.iter("job_list"):
        told = _NAME.fullmatch(entry.findtext("JB_name", ""))
        task = entry.findtext("tasks", "")
        if told is None or not task.isdigit():
            continue
        shown = Shown(told[1], int(told[2]), int(told[3]))
        shown = found.setdefault(entry.findtext("JB_job_number", ""), shown)
        shown.tasks[int(task)] = _task(entry)
    return found


def _task(entry: ElementTree.Element) -> Task:
    word = entry.findtext("state", "")
    if is_deleted(word):
        return Task(MachineState.ENDED, reason=_ENDED)
    state, reason = state_of(word)
    if state.value == "pending":
        # That the queue is full is the usual case, and no news.
        return Task(
            MachineState.PENDING, "", f"{word}: {reason}" if word != "qw" else "", is_failed(word)
        )
    return Task(MachineState.RUNNING, entry.findtext("queue_name", "").partition("@")[2])


def _waits(array: Array, index: int) -> bool:
    task = array.tasks.get(index)
    return task is None or task.is_pending


PROVIDER = SgeKind()
