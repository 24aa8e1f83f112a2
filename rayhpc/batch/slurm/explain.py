"""Why a SLURM job waits, and what would start sooner.

Called by `rayhpc explain` at the user's request: it costs a few requests to the controller (one for
the partitions, one for the unchanged script and one for each alternative tried), never more than
`MOST_TRIES` + 2.

What `sbatch --test-only` returns is not when a variation would start: SLURM treats it as an
additional job, and adds the run time of all that waits in its partition, including the job that it
is to replace (a job without a limit adds 127 years).  The same script unchanged is delayed by as
much, so the difference between the two answers is what a variation gains.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.folder import JobRecord
from rayhpc.batch.job_status import Explanation, JobStatus, State, forgotten, present
from rayhpc.batch.slurm.commands import attempt, call

MOST_TRIES = 4
_START = re.compile(r"to start at (\S+)")
_DIRECTIVE = re.compile(r"^#SBATCH --(partition|time)=(\S+)", re.MULTILINE)
# How much earlier a start must be to be worth a sentence.
_WORTH_S = 60.0


@dataclass(frozen=True)
class Partition:
    """One partition: its name, its number of idle nodes and of all nodes."""

    name: str
    idle: int
    total: int
    default: bool


def explain_job(record: JobRecord, script: Path, status: JobStatus | None) -> Explanation:
    """Sentences for this job.  Raises SchedulerError if the controller does not answer."""
    if status is None:
        return forgotten("SLURM", record)
    if status.state is not State.PENDING:
        return Explanation([present(status)], [])
    expected = _words_for(status.start)
    why = [f"job {status.id} is waiting: {status.reason or 'SLURM does not say why'}"]
    why.append(f"SLURM expects to start it {expected}" if expected else "SLURM names no start yet")
    partitions = read_partitions(call(["sinfo", "--noheader", "--format", "%P|%F"]))
    text = script.read_text() if script.is_file() else ""
    chosen = dict(_DIRECTIVE.findall(text))
    own = next((each for each in partitions if _is_own(each, chosen.get("partition"))), None)
    if own is not None:
        why.append(
            f"partition {own.name} has {own.idle} of {own.total} nodes idle; the job wants "
            f"{record.nodes}"
        )
    sooner = list(_sooner(record, script, status, partitions, own)) if text else []
    return Explanation(why, sooner)


def read_partitions(text: str) -> list[Partition]:
    """The rows of `sinfo --format %P|%F`, whose second column is allocated/idle/other/total."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        name, _, counts = line.strip().partition("|")
        numbers = counts.split("/")
        if len(numbers) == 4 and all(number.isdigit() for number in numbers):
            short = name.rstrip("*")
            row = Partition(short, int(numbers[1]), int(numbers[3]), name.endswith("*"))
            found.setdefault(short, row)
    return list(found.values())


def _is_own(partition: Partition, chosen: str | None) -> bool:
    return partition.default if chosen is None else partition.name in chosen.split(",")


def _sooner(
    record: JobRecord,
    script: Path,
    status: JobStatus,
    partitions: list[Partition],
    own: Partition | None,
) -> Iterator[str]:
    """What the controller says about a few variations of the same script."""
    # A start time in the past, or right now, is no promise while the job still waits.
    promised = status.start if status.start is not None and status.start > time.time() + 1 else None
    unchanged = _when(script, [])
    for words in list(_variations(record, partitions, own))[:MOST_TRIES]:
        at = _when(script, words)
        if at is None:
            continue
        elsewhere = words[0].startswith("--partition=")
        found = gain_elsewhere(at, promised) if elsewhere else gain(at, unchanged, promised)
        if found:
            yield f"with {' '.join(words)} it {found}"


def gain(at: float, unchanged: float | None, promised: float | None) -> str:
    """What a variation in the same partition gains, from both answers; empty: nothing."""
    if unchanged is None:
        return "could start at all"
    earlier = unchanged - at
    if earlier < _WORTH_S:
        return ""
    if promised is None:
        return f"would start {_duration(earlier)} sooner"
    return f"would start {_words_for(promised - earlier)}"


def gain_elsewhere(at: float, promised: float | None) -> str:
    """The same for another partition, where the waiting job delays nothing."""
    limit = time.time() + 2 * _WORTH_S if promised is None else promised
    return f"would start {_words_for(at)}" if at < limit - _WORTH_S else ""


def _variations(
    record: JobRecord, partitions: list[Partition], own: Partition | None
) -> Iterator[list[str]]:
    if own is not None and 0 < own.idle < record.nodes:
        yield [f"--nodes={own.idle}"]
    elif record.nodes > 1:
        yield [f"--nodes={record.nodes // 2}"]
    yield ["--time=30"]
    for other in sorted(partitions, key=lambda each: -each.idle):
        if own is None or other.name != own.name:
            yield [f"--partition={other.name}"]


def _when(script: Path, words: list[str]) -> float | None:
    """When the script would start with these options; None: never."""
    try:
        done = attempt(["sbatch", "--test-only", *words, str(script)])
    except SchedulerError:
        return None
    match = _START.search(done.stderr or done.stdout)
    if done.returncode != 0 or match is None:
        return None
    try:
        return time.mktime(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None


def _words_for(at: float | None) -> str:
    if at is None:
        return ""
    if at <= time.time() + 1:
        return "now"
    when = time.localtime(at)
    year = "" if when.tm_year == time.localtime().tm_year else " %Y"
    return "at " + time.strftime(f"%d %b{year} %H:%M:%S", when)


def _duration(seconds: float) -> str:
    """A rough duration, in the largest unit of which there are at least two."""
    for unit, name in ((86_400, "days"), (3_600, "hours")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 60:.0f} min"
