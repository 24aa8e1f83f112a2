"""Parses `qstat -f` output; OpenPBS and Torque use the same format.

Used by `jobs`.  A line that begins with a tab continues the previous one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.job_status import JobStatus, State
from rayhpc.batch.pbs.commands import attempt, is_torque
from rayhpc.batch.pbs.facts import short_id
from rayhpc.batch.pbs.words import exit_code, is_hopeless, reason_of, refusal, state_of

_TIME = "%a %b %d %H:%M:%S %Y"
_HOST = re.compile(r"([^/+]+)/[^+]*")
_GONE = re.compile(r"unknown job|job has finished", re.IGNORECASE)


def ask(native: Sequence[str]) -> dict[str, JobStatus]:
    """Those of these jobs, named as in PBS (`123`, `123[]`, `123[4]`), that it still knows."""
    # OpenPBS lists ended jobs only if asked for history.
    history = [] if is_torque() else ["-x"]
    done = attempt(["qstat", *history, "-f", *native])
    lines = [line for line in done.stderr.splitlines() if line and not _GONE.search(line)]
    if done.returncode != 0 and lines:
        raise SchedulerError(refusal("qstat", "\n".join(lines)))
    return {short_id(name): _status(name, of) for name, of in read_jobs(done.stdout).items()}


def read_jobs(text: str) -> dict[str, dict[str, str]]:
    """All attributes per job, as `qstat -f` prints them."""
    found: dict[str, dict[str, str]] = {}
    job: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        if line.startswith("\t") and last:
            job[last] += line[1:]
        elif line.startswith("Job Id:"):
            job = found.setdefault(line.partition(":")[2].strip(), {})
            last = ""
        elif " = " in line:
            name, _, value = line.strip().partition(" = ")
            job[name], last = value, name
    return found


def hosts(exec_host: str) -> list[str]:
    """The hosts in `n1/0*4+n2/0*4`, or Torque's `n1/0+n1/1+n2/0` and `n1/0-3+n2/0-3`, once each."""
    return list(dict.fromkeys(_HOST.findall(exec_host)))


def _status(name: str, of: Mapping[str, str]) -> JobStatus:
    letter, comment = of.get("job_state", ""), of.get("comment", "")
    state, reason = state_of(letter)
    code: int | None = None
    if state is State.PENDING and comment:
        reason = reason_of(comment) or reason
    if state is State.DONE:
        state, code = _end(of)
        reason = comment if state is State.FAILED else ""
    return JobStatus(
        short_id(name),
        state,
        letter,
        reason,
        _time(of.get("stime") or of.get("start_time") or of.get("estimated.start_time", "")),
        ",".join(hosts(of.get("exec_host", ""))),
        code,
        hopeless=state is State.PENDING and is_hopeless(comment),
        closing=letter == "E",
    )


def _end(of: Mapping[str, str]) -> tuple[State, int | None]:
    """A job without an exit status never ran, or was deleted while it waited."""
    status = of.get("Exit_status", "")
    if not re.fullmatch(r"-?\d+", status):
        return State.CANCELLED, None
    code = exit_code(int(status))
    return (State.FAILED if code else State.DONE), code


def _time(text: str) -> float | None:
    """Parses `Sat Apr 20 01:36:59 2013`, with or without the time zone that newer versions add."""
    try:
        return time.mktime(time.strptime(re.sub(r" [A-Z]{3,4} (?=\d{4}$)", " ", text), _TIME))
    except ValueError:
        return None
