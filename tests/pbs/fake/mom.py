"""One running job of the fake: its script, its signals, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

from tests.pbs.fake.state import KILL_DELAY_S, folder, is_torque, jobs, now, schedule


def main(name: str) -> None:
    """Run it to the end."""
    with jobs() as known:
        job = known[name]
        # With mpiprocs=1 OpenPBS names a host once; Torque once for each processor.
        times = job["cpus"] if is_torque() else 1
        nodefile = folder() / f"nodes.{name}"
        nodefile.write_text("".join(f"{host}\n" * times for host in job["hosts"]))
        environ = {**job["environ"], **_variables(name, job, str(nodefile))}
        output = job["output"]
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    with open(output, "ab") as out:
        script = subprocess.Popen(
            ["/bin/bash", str(folder() / f"script.{name}")],
            env=environ,
            cwd=environ["HOME"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        with jobs() as known:
            known[name]["session_id"] = script.pid
        code = _wait(script, ended)
    with suppress(ProcessLookupError):
        os.killpg(script.pid, signal.SIGKILL)
    with jobs() as known:
        end = "C" if is_torque() else "F"
        known[name].update(job_state=end, Exit_status=256 - code if code < 0 else code, mtime=now())
        schedule(known)


def _wait(script: subprocess.Popen[bytes], ended: list[int]) -> int:
    """SIGTERM to the session, as qdel does; SIGKILL after kill_delay."""
    while True:
        try:
            return script.wait(0.05)
        except subprocess.TimeoutExpired:
            if ended:
                break
    _signal_session(script.pid, signal.SIGTERM)
    try:
        return script.wait(KILL_DELAY_S)
    except subprocess.TimeoutExpired:
        _signal_session(script.pid, signal.SIGKILL)
        return script.wait()


def _signal_session(session: int, number: int) -> None:
    """Every process of the job: those of the session of its script, whatever their group."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if os.getsid(int(entry)) == session:
                os.kill(int(entry), number)


def _variables(name: str, job: dict[str, object], nodefile: str) -> dict[str, str]:
    found = {
        "PBS_JOBID": name,
        "PBS_JOBNAME": str(job["Job_Name"]),
        "PBS_NODEFILE": nodefile,
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_O_WORKDIR": str(job["directory"]),
        "HOSTNAME": str(job["hosts"][0]),  # type: ignore[index]
        "FAKE_PBS": str(folder()),
        "FAKE_PBS_FLAVOUR": os.environ["FAKE_PBS_FLAVOUR"],
    }
    if is_torque():
        found |= {"PBS_NUM_PPN": str(job["cpus"]), "PBS_VERSION": "TORQUE-6.1.3"}
    else:
        found["NCPUS"] = str(job["cpus"])
    if job["task"]:
        found["PBS_ARRAYID" if is_torque() else "PBS_ARRAY_INDEX"] = str(job["task"])
    return found


if __name__ == "__main__":
    main(sys.argv[1])
