"""Parses the output of qstat and qacct.

Used by `jobs` and `explain`.  `qstat -xml -g d` has one entry per array task; a job that has ended
is only in `qacct`, if the site lets users read its accounting.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.job_status import JobStatus, State
from rayhpc.batch.sge.commands import attempt
from rayhpc.batch.sge.words import is_failed, refusal, state_of

_XML_TIME = "%Y-%m-%dT%H:%M:%S"
_QACCT_TIME = "%a %b %d %H:%M:%S %Y"


def ask_queue(user: str) -> dict[str, JobStatus]:
    """The user's waiting or running jobs, under every name: `12_3`, and `12` for the array."""
    done = attempt(["qstat", "-xml", "-g", "d", "-u", user])
    if done.returncode != 0:
        raise SchedulerError(refusal("qstat", done.stderr or done.stdout))
    return read_queue(done.stdout)


def read_queue(text: str) -> dict[str, JobStatus]:
    """Parse that output.  Raises SchedulerError if it is not qstat's XML."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SchedulerError(f"qstat: {error}: it printed {text[:80]!r}") from error
    found: dict[str, JobStatus] = {}
    for entry in root.iter("job_list"):
        number, task = entry.findtext("JB_job_number", ""), entry.findtext("tasks", "")
        # An array has the state of its least advanced task.
        for name in (number, f"{number}_{task}") if task else (number,):
            if name not in found or found[name].state is State.RUNNING:
                found[name] = _of_entry(name, entry)
    return found


def _of_entry(name: str, entry: ElementTree.Element) -> JobStatus:
    word = entry.findtext("state", "")
    state, reason = state_of(word)
    began = entry.findtext("JAT_start_time", "") if state is State.RUNNING else ""
    return JobStatus(
        name,
        state,
        word,
        reason,
        _time(began, _XML_TIME),
        entry.findtext("queue_name", "").partition("@")[2],
        hopeless=is_failed(word),
        closing="d" in word,
    )


def ask_accounts(ids: Sequence[str]) -> dict[str, JobStatus]:
    """Jobs that have ended; those not (or not yet) in accounting are left out."""
    found: dict[str, JobStatus] = {}
    for name in ids:
        number, _, task = name.partition("_")
        done = attempt(["qacct", "-j", number, *(("-t", task) if task else ())])
        ends = list(read_accounts(done.stdout)) if done.returncode == 0 else []
        if ends:
            found[name] = _of_end(name, ends)
    return found


def read_accounts(text: str) -> Iterator[dict[str, str]]:
    """The records of `qacct -j`, each after a line of equals signs: tasks and their slaves."""
    record: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("====="):
            if record:
                yield record
            record = {}
        elif line.strip():
            name, _, value = line.partition(" ")
            record[name] = value.strip()
    if record:
        yield record


def _of_end(name: str, records: Sequence[dict[str, str]]) -> JobStatus:
    """The worst outcome.  `failed` covers Grid Engine's own failures, and what it killed (100)."""
    codes = [(_number(each.get("exit_status")), _number(each.get("failed"))) for each in records]
    code, failed = max(codes)
    first = records[0]
    reason = first.get("failed", "").partition(":")[2].strip() if failed else ""
    killed = first.get("deleted_by", "NONE") not in ("", "NONE")
    state = State.DONE if code == failed == 0 else State.FAILED
    word = "FAILED" if state is State.FAILED else "COMPLETED"
    if killed:
        state, word = State.CANCELLED, "DELETED"
    began = _time(first.get("start_time", ""), _QACCT_TIME)
    return JobStatus(name, state, word, reason, began, first.get("hostname", ""), code)


def _number(text: str | None) -> int:
    head = (text or "").split(" ")[0].strip()
    return int(head) if head.isdigit() else 0


def _time(text: str, form: str) -> float | None:
    try:
        return time.mktime(time.strptime(text, form))
    except ValueError:
        return None
