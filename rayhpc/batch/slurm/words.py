"""SLURM's terms in plain words: why a job waits, how it ended, why it was refused.

Pure tables and functions.  The names are those of SLURM's manual pages (squeue, sbatch); unlisted
ones are shown unchanged.
"""

from __future__ import annotations

import re

from rayhpc.batch.job_status import State

STATES: dict[str, State] = {
    "PENDING": State.PENDING,
    "CONFIGURING": State.PENDING,
    "REQUEUED": State.PENDING,
    "REQUEUE_FED": State.PENDING,
    "REQUEUE_HOLD": State.PENDING,
    "SPECIAL_EXIT": State.PENDING,
    "RESV_DEL_HOLD": State.PENDING,
    "RUNNING": State.RUNNING,
    "COMPLETING": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "STAGE_OUT": State.RUNNING,
    "SUSPENDED": State.RUNNING,
    "STOPPED": State.RUNNING,
    "RESIZING": State.RUNNING,
    "COMPLETED": State.DONE,
    "CANCELLED": State.CANCELLED,
    "REVOKED": State.CANCELLED,
    "FAILED": State.FAILED,
    "TIMEOUT": State.FAILED,
    "DEADLINE": State.FAILED,
    "NODE_FAIL": State.FAILED,
    "BOOT_FAIL": State.FAILED,
    "LAUNCH_FAILED": State.FAILED,
    "OUT_OF_MEMORY": State.FAILED,
    "PREEMPTED": State.FAILED,
}

_ENDS = {
    "TIMEOUT": "it reached its time limit: ask for more with --time",
    "DEADLINE": "its deadline passed",
    "NODE_FAIL": "a node failed; with --no-kill the cluster continues without it",
    "BOOT_FAIL": "a node did not boot",
    "LAUNCH_FAILED": "SLURM could not start it on its nodes",
    "OUT_OF_MEMORY": "it used more memory than it was given: ask for more with --mem",
    "PREEMPTED": "a job of higher priority took its nodes; with --requeue it is requeued",
    "CANCELLED": "it was cancelled",
}

_REASONS = {
    "None": "the controller has not looked at it yet",
    "Priority": "jobs of higher priority are ahead of it",
    "Resources": "the nodes it needs are busy",
    "Dependency": "it waits for another job to end",
    "DependencyNeverSatisfied": "the job it depends on ended otherwise, so it never starts: cancel "
    "it and submit it again",
    "BeginTime": "its start time has not come (a requeued job waits a little, too)",
    "JobHeldUser": "you hold it: `scontrol release` releases it",
    "JobHeldAdmin": "an administrator holds it: ask them why",
    "ReqNodeNotAvail": "a node it asked for is down, drained or reserved",
    "PartitionDown": "its partition does not start jobs now",
    "PartitionInactive": "its partition takes no jobs now",
    "PartitionNodeLimit": "it asks for more nodes than its partition allows: fewer --nodes, or "
    "another --partition",
    "PartitionTimeLimit": "it asks for more time than its partition allows: less --time, or "
    "another --partition",
    "PartitionConfig": "its partition has fewer nodes, or its nodes fewer CPUs or GPUs or less "
    "memory: `sinfo -o '%P %D %c %m %G'`",
    "NodeDown": "a node it needs is down",
    "BadConstraints": "no node has what --constraint asks for",
    "Licenses": "it waits for a licence",
    "Reservation": "its reservation has not begun",
    "ReservationDeleted": "its reservation is gone: submit it again without --reservation",
    "JobArrayTaskLimit": "as many tasks of its array run as it allows (the %N of --array)",
    "Cleaning": "it is being requeued and its last run is cleaned up",
    "Prolog": "its nodes are being prepared",
    "InvalidAccount": "its account is not valid: see `sacctmgr show associations user=$USER`",
    "InvalidQOS": "its quality of service is not valid",
    "AccountNotAllowed": "its account may not use this partition",
    "QOSNotAllowed": "its quality of service may not use this partition",
    "NonZeroExitCode": "its last run ended with an error",
    "RaisedSignal": "its last run was ended by a signal",
    "SystemFailure": "something in SLURM, a file system or the network failed",
    "NodeFail": "a node failed",
    "OutOfMemory": "it used more memory than it was given",
    "launch_failed_requeued_held": "it could not be started on its nodes and is held: see the logs "
    "of its nodes, then `scontrol release`",
}

# Reasons that do not go away by waiting.
_HOPELESS = {
    "DependencyNeverSatisfied",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "PartitionConfig",
    "BadConstraints",
    "ReservationDeleted",
    "InvalidAccount",
    "InvalidQOS",
    "AccountNotAllowed",
    "QOSNotAllowed",
}

# Families of reasons, recognised by prefix or suffix, and what they mean.
_FAMILIES = (
    (re.compile(r"Assoc\w*"), "a limit of your account is reached"),
    (re.compile(r"QOS\w*"), "a limit of its quality of service is reached"),
    (re.compile(r"\w*Max\w*"), "a limit on what you may use at once is reached"),
)

# A part of SLURM's message, ignoring case, and what to do then.
_REFUSALS = {
    "Unable to contact slurm controller|Connection refused|Socket timed out|"
    "Communication connection failure": (
        "SLURM's controller does not answer; try again later (`scontrol ping` shows whether it "
        "is up)"
    ),
    "invalid partition": "there is no such partition: `sinfo --format=%R` lists them",
    "Invalid account": (
        "this account may not be used here: `sacctmgr show associations user=$USER` lists yours; "
        "give one with --account"
    ),
    "Invalid qos": "there is no such quality of service: see --qos",
    "Node count specification invalid|More processors requested|"
    "Requested node configuration is not available": (
        "the partition can never provide that: it has fewer nodes, or its nodes "
        "have fewer CPUs, GPUs or less memory (`sinfo -o '%P %D %c %m %G'`)"
    ),
    "Invalid feature specification": (
        "no node has what --constraint asks for (`sinfo -o '%f'` lists what there is)"
    ),
    "time limit is invalid|Requested time limit": (
        "the partition does not allow that long: less --time, or another --partition"
    ),
    "reservation is invalid": "there is no such reservation for you",
    "Job dependency problem": (
        "--dependency does not name a job to wait for: write, for example, afterok:123"
    ),
    "Invalid generic resource|Invalid gres|Invalid Trackable RESource": (
        "the nodes have no such GPUs (`sinfo -o '%G'` lists them): see --gpus-per-node"
    ),
    "violates accounting/QOS policy": (
        "a limit of your account or quality of service forbids it: ask for less, or use another "
        "--account or --qos"
    ),
    "unrecognized option|invalid option|Invalid .* specification": (
        "this SLURM does not know an option of the script; look at it with --dry-run"
    ),
}

_NOISE = re.compile(
    r"^(?:(?:sbatch|srun|squeue|scancel|scontrol|sinfo): (?:error: )?|allocation failure: )",
    re.MULTILINE,
)


def state_of(word: str) -> State:
    """The state for SLURM's word (also `CANCELLED by 1001`); unknown ones count as running."""
    return STATES.get(word.split(" ")[0].rstrip("+"), State.RUNNING)


def reason_in_words(reason: str) -> str:
    """Why a job is pending, as the second half of a sentence; possibly empty."""
    name = _name_of(reason)
    if name in _REASONS:
        return _REASONS[name]
    for pattern, words in _FAMILIES:
        if pattern.fullmatch(name):
            return f"{words} ({name})"
    return reason.strip()


def is_hopeless(reason: str) -> bool:
    """Whether a job that is pending for this reason can never start as it is."""
    return _name_of(reason) in _HOPELESS


def end_in_words(word: str) -> str:
    """How a job ended, if its exit code does not say so; otherwise empty."""
    return _ENDS.get(word.split(" ")[0], "")


def refusal(program: str, text: str) -> str:
    """SLURM's message, and what to do about it."""
    said = _NOISE.sub("", text).strip().replace("\n", "; ")
    for pattern, remedy in _REFUSALS.items():
        if re.search(pattern, said, re.IGNORECASE):
            return f"{program}: {said}\n{remedy}"
    return f"{program}: {said or 'failed without a message'}"


def _name_of(reason: str) -> str:
    """`Resources` in `(Resources, …)`."""
    return reason.strip().strip("()").split(",")[0].strip()
