"""Why a Grid Engine job waits, and what would start sooner.

Called by `rayhpc explain` at the user's request: it costs one request for the job, two for the
scheduler's opinion (`qalter -w v`: on an idle cluster, `-w p`: now), and one per alternative.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from rayhpc.batch.folder import JobRecord
from rayhpc.batch.job_status import Explanation, JobStatus, State, forgotten, present
from rayhpc.batch.sge.commands import attempt

_PE = re.compile(r"^#\$ -pe (\S+) (\d+)", re.MULTILINE)
_ERROR = re.compile(r"^error reason\s+\d+:\s*(.*)", re.MULTILINE)
_SUITABLE = "found suitable queue"
_NOISE = re.compile(r"^(Unable to run job: |verification: .*|Exiting\.)", re.MULTILINE)
_JOB = re.compile(r"^Job \d+ ")


def explain_job(record: JobRecord, script: Path, status: JobStatus | None) -> Explanation:
    """Sentences for this job.  Raises SchedulerError if the qmaster does not answer."""
    if status is None:
        return forgotten("Grid Engine", record)
    if status.state is not State.PENDING:
        return Explanation([present(status)], [])
    number = status.id.partition("_")[0]
    why = [f"job {status.id} is waiting ({status.word}): {status.reason}"]
    why += _errors(number)
    never = _verified(["qalter", "-w", "v", number])
    if never:
        why += [f"even with all hosts idle: {sentence}" for sentence in never]
        return Explanation(why, [])
    why += [f"now: {sentence}" for sentence in _verified(["qalter", "-w", "p", number])]
    text = script.read_text() if script.is_file() else ""
    return Explanation(why, list(_sooner(record, script, text)))


def _errors(number: str) -> list[str]:
    return _ERROR.findall(attempt(["qstat", "-j", number]).stdout)


def _verified(argv: list[str], stdin: str = "") -> list[str]:
    """The obstacles, once each; empty: it would run."""
    done = attempt(argv, stdin=stdin)
    said = done.stdout + done.stderr
    if _SUITABLE in said:
        return []
    lines = (_JOB.sub("it ", line).strip() for line in _NOISE.sub("", said).splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def _sooner(record: JobRecord, script: Path, text: str) -> Iterator[str]:
    """What the scheduler says about the same script on fewer nodes."""
    asked = _PE.search(text)
    if asked is None or record.nodes == 1:
        return
    name, total = asked[1], int(asked[2])
    for nodes in dict.fromkeys((record.nodes // 2, 1)):
        slots = str(nodes * total // record.nodes)
        if not _verified(["qsub", "-w", "p", "-pe", name, slots, str(script)]):
            yield f"with --nodes {nodes} it would start now"
            return
