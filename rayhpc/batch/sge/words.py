"""Grid Engine's terms in plain words: states, and why it refuses.

Pure tables and functions.  The letters are those of qstat(1), most important first.
"""

from __future__ import annotations

import re

from rayhpc.batch.job_status import State

# Letters of a job's state (`hqw`, `Eqw`, `dRr`): the first one contained in it decides.
_STATES = (
    ("E", State.PENDING, "Grid Engine could not start it: see `rayhpc explain`"),
    ("d", State.RUNNING, "it is being deleted"),
    ("h", State.PENDING, "it is held: by you (`qrls` releases it), or until another job has ended"),
    ("qw", State.PENDING, "no queue has room for it yet, or jobs of higher priority are ahead"),
    ("t", State.RUNNING, ""),
    ("s", State.RUNNING, "it is suspended (`qmod -usj` resumes it)"),
    ("S", State.RUNNING, "its queue is suspended"),
    ("T", State.RUNNING, "its queue is suspended until the host's load falls"),
    ("r", State.RUNNING, ""),
)

# A part of Grid Engine's message, ignoring case, and what to do then.
_REFUSALS = {
    "unable to (contact|send message to) qmaster|got no connection|can't get configuration": (
        "the qmaster does not answer; try again later (`qconf -sss` shows whether it is up)"
    ),
    "parallel environment .* does not exist": "`qconf -spl` lists the parallel environments",
    "unknown queue|no cluster queue or queue instance": (
        "there is no such queue: `qconf -sql` lists them"
    ),
    "project .* does not exist|no access to project": (
        "--account must name a Grid Engine project: `qconf -sprjl` lists them"
    ),
    "unknown resource": "`qconf -sc` lists the resources that a job may request",
    "only offers .* slots|no suitable queues|cannot be scheduled": (
        "nothing here can ever provide that: use fewer --nodes or --cpus-per-node, or "
        "another --partition (queue); --sge '-w n' submits it all the same"
    ),
    "no submit host|denied: host": "jobs cannot be submitted from this machine: use a login node",
    "Following jobs do not exist|does not exist": "Grid Engine no longer knows that job",
    "invalid option argument|Unknown option": (
        "this Grid Engine does not know an option of the script; look at it with --dry-run"
    ),
}
_NOISE = re.compile(
    r"^(Unable to run job: |error: |denied: |Exiting\.$|warning: |verification: no .*$)",
    re.MULTILINE,
)


def state_of(letters: str) -> tuple[State, str]:
    """The state for qstat's letters, and a reason, maybe empty; unknown ones count as running."""
    for part, state, reason in _STATES:
        if part in letters:
            return state, reason
    return State.RUNNING, ""


def is_failed(letters: str) -> bool:
    """Whether Grid Engine failed to start it and will not try again."""
    return "E" in letters


def is_deleted(letters: str) -> bool:
    """Whether it was told to end, so that it does not run again."""
    return "d" in letters


def refusal(program: str, text: str) -> str:
    """Grid Engine's message, and what to do about it."""
    said = "; ".join(line for line in _NOISE.sub("", text).strip().splitlines() if line.strip())
    for pattern, remedy in _REFUSALS.items():
        if re.search(pattern, said, re.IGNORECASE):
            return f"{program}: {said}\n{remedy}"
    return f"{program}: {said or 'failed without a message'}"
