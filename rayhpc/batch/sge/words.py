"""Grid Engine's own words in plain ones: states, and why it refuses.

Pure tables and functions.  The letters are those of qstat(1), in its order of importance.
"""

from __future__ import annotations

import re

from rayhpc.batch.job_status import State

# Part of a job's state (`hqw`, `Eqw`, `dRr`): the first that is in it decides.
_STATES = (
    ("E", State.PENDING, "Grid Engine could not start it: see `rayhpc explain`"),
    ("d", State.RUNNING, "it is being deleted"),
    ("h", State.PENDING, "it is held: by you (`qrls` lets it go), or until another job has ended"),
    ("qw", State.PENDING, "no queue has room for it yet, or jobs of higher priority are before it"),
    ("t", State.RUNNING, ""),
    ("s", State.RUNNING, "it is suspended (`qmod -usj` resumes it)"),
    ("S", State.RUNNING, "its queue is suspended"),
    ("T", State.RUNNING, "its queue is suspended until the host's load falls"),
    ("r", State.RUNNING, ""),
)

# Part of what Grid Engine says, whatever the case of its letters, and what to do then.
_REFUSALS = {
    "unable to (contact|send message to) qmaster|got no connection|can't get configuration": (
        "the qmaster does not answer; try again later (`qconf -sss` tells whether it is up)"
    ),
    "parallel environment .* does not exist": "`qconf -spl` lists the parallel environments",
    "unknown queue|no cluster queue or queue instance": (
        "there is no such queue: `qconf -sql` lists them"
    ),
    "project .* does not exist|no access to project": (
        "--account names a project of Grid Engine's: `qconf -sprjl` lists them"
    ),
    "unknown resource": "`qconf -sc` lists the resources that a job may ask for",
    "only offers .* slots|no suitable queues|cannot be scheduled": (
        "nothing here can give that, whatever one waits: fewer --nodes or --cpus-per-node, or "
        "another --partition (queue); --sge '-w n' submits it all the same"
    ),
    "no submit host|denied: host": "jobs cannot be submitted from this machine: use a login node",
    "Following jobs do not exist|does not exist": "Grid Engine does not know that job any more",
    "invalid option argument|Unknown option": (
        "this Grid Engine does not know an option of the script; look at it with --dry-run"
    ),
}
_NOISE = re.compile(
    r"^(Unable to run job: |error: |denied: |Exiting\.$|warning: |verification: no .*$)",
    re.MULTILINE,
)


def state_of(letters: str) -> tuple[State, str]:
    """The state behind qstat's letters and a reason, maybe empty; unknown ones still run."""
    for part, state, reason in _STATES:
        if part in letters:
            return state, reason
    return State.RUNNING, ""


def is_failed(letters: str) -> bool:
    """Whether Grid Engine tried to start it, failed, and tries no more."""
    return "E" in letters


def is_deleted(letters: str) -> bool:
    """Whether it was told to end, so that it does not run again."""
    return "d" in letters


def refusal(program: str, text: str) -> str:
    """What Grid Engine said, and what to do about it."""
    said = "; ".join(line for line in _NOISE.sub("", text).strip().splitlines() if line.strip())
    for pattern, remedy in _REFUSALS.items():
        if re.search(pattern, said, re.IGNORECASE):
            return f"{program}: {said}\n{remedy}"
    return f"{program}: {said or 'failed without a word'}"
