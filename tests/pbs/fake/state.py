"""The jobs of a fake PBS, in one file that whoever holds the lock may change."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVER = "pbs01"
HOSTS = {"n1": 4, "n2": 4}
KILL_DELAY_S = 6
Job = dict[str, Any]


def folder() -> Path:
    """Where this fake lives."""
    return Path(os.environ["FAKE_PBS"])


def is_torque() -> bool:
    """Which of the two it plays."""
    return os.environ["FAKE_PBS_FLAVOUR"] == "torque"


@contextmanager
def jobs() -> Iterator[dict[str, Job]]:
    """All jobs by PBS's name of them (`12.pbs01`, `12[].pbs01`, `12[3].pbs01`)."""
    with open(folder() / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder() / "jobs.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        yield known
        # Whole or not at all: a job that is killed here takes nobody's state along.
        new = path.with_suffix(".new")
        new.write_text(json.dumps(known))
        new.replace(path)


def now() -> str:
    """As qstat prints it."""
    return time.strftime("%a %b %d %H:%M:%S %Y")


def schedule(known: dict[str, Job]) -> None:
    """Start what there is room for, and say of the others why not."""
    for name, job in known.items():
        if job["job_state"] != "Q":
            continue
        if any(known.get(each, {}).get("job_state", "F") not in "FC" for each in job["after"]):
            continue
        free = dict(HOSTS)
        for other in known.values():
            if other["job_state"] in "RE":
                for host in other["hosts"]:
                    free[host] -= other["cpus"]
        if job["nodes"] > len(HOSTS) or job["cpus"] > max(HOSTS.values()):
            amounts = f"(R: {job['nodes'] * job['cpus']} A: {sum(free.values())} T: 8)"
            job["comment"] = f"Can Never Run: Insufficient amount of resource: ncpus {amounts}"
            continue
        fit = [host for host, cpus in free.items() if cpus >= job["cpus"]]
        if len(fit) < job["nodes"]:
            job["comment"] = "Not Running: Insufficient amount of resource: ncpus "
            continue
        job.update(job_state="R", hosts=fit[: job["nodes"]], stime=now(), comment="Job run")
        # It outlives the program that started it, as a job does.
        with open(folder() / "mom.log", "ab") as log:
            mom = subprocess.Popen(
                [sys.executable, "-m", "tests.pbs.fake.mom", name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        job["mom"] = mom.pid
