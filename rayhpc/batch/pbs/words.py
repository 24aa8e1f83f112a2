"""PBS's terms in plain words: states, why a job waits, how it ended, why it was refused.

Pure tables and functions.  The letters are those of qstat(1B), OpenPBS's and Torque's.
"""

from __future__ import annotations

import re

from rayhpc.batch.job_status import State

_STATES = {
    "Q": (State.PENDING, "the scheduler has not found room for it yet"),
    "H": (State.PENDING, "it is held: by you (`qrls` releases it), or until another job has ended"),
    "W": (State.PENDING, "its start time has not come"),
    "T": (State.PENDING, "it is being moved to another server"),
    "M": (State.PENDING, "it was moved to another server"),
    "B": (State.RUNNING, ""),
    "R": (State.RUNNING, ""),
    "E": (State.RUNNING, "it is being taken down"),
    "S": (State.RUNNING, "it is suspended"),
    "U": (State.RUNNING, "it is suspended while its host is in interactive use"),
    "C": (State.DONE, ""),
    "F": (State.DONE, ""),
    "X": (State.DONE, ""),
}
_NEVER = "Can Never Run"
# If a signal ended the script, Exit_status is its number plus this (OpenPBS, Torque).
_SIGNALLED = 256

# A part of PBS's message, ignoring case, and what to do then.
_REFUSALS = {
    "cannot connect to|connection refused|could not connect|no route to host": (
        "the server does not answer; try again later (`qstat -B` shows whether it is up)"
    ),
    "unknown queue": "there is no such queue: `qstat -Q` lists them",
    "unknown resource|illegal attribute or resource value": (
        "this site does not know a resource of the script; look at it with --dry-run"
    ),
    "exceeds queue and/or server resource limits|violates queue": (
        "no queue allows that: less --time, --nodes or --mem, or another --partition (queue)"
    ),
    "invalid account|unauthorized request|not authorized": (
        "you are not allowed to: see --account (the project) and --partition (the queue)"
    ),
    "unknown job id|job has finished|request invalid for state of job": (
        "PBS no longer knows that job"
    ),
    "illegal -W value": (
        "--dependency does not name jobs to wait for: write, for example, afterok:123"
    ),
    "illegal option|invalid option|requires an argument|usage:": (
        "this PBS does not know an option of the script; look at it with --dry-run"
    ),
}
_NOISE = re.compile(r"^(qsub|qstat|qdel): ", re.MULTILINE)


def state_of(letter: str) -> tuple[State, str]:
    """The state for qstat's letter, and a reason, possibly empty; unknown ones count as running."""
    return _STATES.get(letter, (State.RUNNING, ""))


def reason_of(comment: str) -> str:
    """The scheduler's latest comment on a waiting job, as the second half of a sentence."""
    text = re.sub(r"^(Not Running|Can Never Run)(: )?", "", comment.strip()).strip()
    return text[:1].lower() + text[1:]


def is_hopeless(comment: str) -> bool:
    """Whether the scheduler says that a waiting job can never start."""
    return comment.strip().startswith(_NEVER)


def exit_code(status: int) -> int:
    """Exit_status as a shell would report it; failures of PBS itself (below 0) become 1."""
    if status < 0:
        return 1
    return 128 + status - _SIGNALLED if status >= _SIGNALLED else status


def refusal(program: str, text: str) -> str:
    """PBS's message, and what to do about it."""
    said = "; ".join(line for line in _NOISE.sub("", text).strip().splitlines() if line.strip())
    for pattern, remedy in _REFUSALS.items():
        if re.search(pattern, said, re.IGNORECASE):
            return f"{program}: {said}\n{remedy}"
    return f"{program}: {said or 'failed without a message'}"
