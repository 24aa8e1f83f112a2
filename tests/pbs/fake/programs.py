"""qsub, qstat, qdel and pbsdsh of the fake: their options, their words, their exit codes."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import NoReturn

from tests.pbs.fake.state import KILL_DELAY_S, SERVER, Job, folder, is_torque, jobs, now, schedule

_TAKE = {"-S": "shell", "-N": "name", "-q": "queue", "-W": "depend", "-r": "rerun", "-j": "join"}
_QUEUES = ("workq", "long")
_SELECT = re.compile(r"select=(\d+):ncpus=(\d+):mpiprocs=1(:ngpus=\d+)?(:mem=\d+kb)?")
_NODES = re.compile(r"nodes=(\d+):ppn=(\d+)(:gpus=\d+)?")
_DEPEND = re.compile(r"depend=(before|after)(ok|notok|any)?(:\d+(\[\d*\])?(\.[\w.-]+)?)+")
_OTHER = re.compile(r"place=scatter(:excl)?|walltime=\d+|pmem=\d+kb|naccesspolicy=singlejob")


def main(program: str, argv: list[str]) -> NoReturn:
    """One of them."""
    {"qsub": qsub, "qstat": qstat, "qdel": qdel, "pbsdsh": pbsdsh, "pbsnodes": pbsnodes}[program](
        argv
    )
    sys.exit(0)


def fail(text: str, code: int) -> NoReturn:
    """As they end where something is wrong."""
    print(text, file=sys.stderr)
    sys.exit(code)


def qsub(argv: list[str]) -> None:
    """Takes a script and no option of its own."""
    if len(argv) != 1 or argv[0].startswith("-"):
        fail("usage: qsub [-a date_time] …", 2)
    text = Path(argv[0]).read_text()
    words = [word for line in text.splitlines() if line.startswith("#PBS") for word in _words(line)]
    job = _job(words)
    with jobs() as known:
        number = 1 + len({name.partition(".")[0].partition("[")[0] for name in known})
        tasks = job.pop("tasks")
        names = [f"{number}[{task}].{SERVER}" for task in tasks] or [f"{number}.{SERVER}"]
        for name, task in zip(names, tasks or [""], strict=True):
            known[name] = {**job, "task": task}
            (folder() / f"script.{name}").write_text(text)
        schedule(known)
    print(f"{number}[].{SERVER}" if tasks else names[0])


def _words(line: str) -> list[str]:
    return shlex.split(line.removeprefix("#PBS"))


def _job(words: list[str]) -> Job:
    nodes, cpus, output, tasks, name, after = 1, 1, "/dev/null", list[str](), "STDIN", list[str]()
    array, project = ("-t", "-A") if is_torque() else ("-J", "-P")
    while words:
        option = words.pop(0)
        if option == "-V":
            continue
        value = (
            words.pop(0)
            if words
            else fail(f"qsub: option requires an argument -- '{option[1:]}'", 2)
        )
        if option == "-l":
            shape = (_NODES if is_torque() else _SELECT).fullmatch(value)
            if shape:
                nodes, cpus = int(shape[1]), int(shape[2])
            elif not _OTHER.fullmatch(value):
                fail(f"qsub: Unknown resource: {value.partition('=')[0]}", 172)
        elif option == "-o":
            output = value
        elif option == array:
            low, _, high = value.partition("%")[0].partition("-")
            tasks = [str(each) for each in range(int(low), int(high) + 1)]
        elif option == project:
            if value != "proj":
                fail("qsub: Invalid account", 180)
        elif option not in _TAKE:
            fail(f"qsub: illegal option -- {option[1:]}", 2)
        elif option == "-q" and value not in _QUEUES:
            fail("qsub: Unknown queue", 170)
        elif option == "-N":
            if not re.fullmatch(rf"[A-Za-z][\w.+-]{{0,{14 if is_torque() else 229}}}", value):
                fail("qsub: illegal -N value", 2)
            name = value
        elif option == "-W":
            if not _DEPEND.fullmatch(value):
                fail("qsub: illegal -W value", 2)
            after = [f"{each}.{SERVER}" for each in value.partition("=")[2].split(":")[1:]]
    environ = {key: each for key, each in os.environ.items() if not key.startswith("PBS_")}
    return {
        "Job_Name": name,
        "job_state": "H" if after else "Q",
        "nodes": nodes,
        "cpus": cpus,
        "tasks": tasks,
        "output": output,
        "after": after,
        "qtime": now(),
        "directory": os.getcwd(),
        "environ": environ,
        "hosts": [],
    }


def qstat(argv: list[str]) -> None:
    """`--version`, `-Qf [QUEUE]`, `[-x] -f JOB…`."""
    if argv == ["--version"]:
        print("Version: 6.1.3" if is_torque() else "pbs_version = 23.06.06")
        return
    if argv[:1] == ["-Qf"]:
        for queue in argv[1:] or _QUEUES:
            print(f"Queue: {queue}\n    queue_type = Execution\n    kill_delay = {KILL_DELAY_S}\n")
        return
    history = argv[:1] == ["-x"] and not is_torque()
    names = argv[2:] if history else argv[1:]
    if argv[1 if history else 0] != "-f":
        fail("qstat: illegal option", 2)
    code = 0
    with jobs() as alone:
        known = {**alone, **_arrays(alone)}
        for name in names:
            found = [_full(name)] if _full(name) in known else []
            shown = [each for each in found if history or known[each]["job_state"] != "F"]
            for each in shown:
                _print(each, known[each])
            if not found:
                print(f"qstat: Unknown Job Id {name}.{SERVER}", file=sys.stderr)
                code = 153
            elif not shown:
                print(f"qstat: {name}.{SERVER} Job has finished, use -x", file=sys.stderr)
                code = 35
    sys.exit(code)


def _arrays(known: dict[str, Job]) -> dict[str, Job]:
    """An array has an entry of its own, which has begun until its last task has ended."""
    found: dict[str, Job] = {}
    for name, task in known.items():
        if "[" not in name:
            continue
        states = {known[each]["job_state"] for each in _of(f"{name.partition('[')[0]}[]", known)}
        state = "C" if is_torque() else "F"
        if states & set("QRHE"):
            state = "Q" if states <= set("QH") else "R" if is_torque() else "B"
        number = name.partition("[")[0]
        found[f"{number}[].{SERVER}"] = {**task, "job_state": state, "hosts": []}
    return found


def _full(name: str) -> str:
    return name if name.endswith(f".{SERVER}") else f"{name}.{SERVER}"


def _of(name: str, known: dict[str, Job]) -> list[str]:
    """`12`, `12[3]`, and `12[]`, which stands for all tasks of the array."""
    full = _full(name)
    if "[]" in full:
        prefix = full.partition("[")[0] + "["
        return [each for each in known if each.startswith(prefix)]
    return [full] if full in known else []


def _print(name: str, job: Job) -> None:
    count = job["cpus"]
    hosts = "+".join(
        "+".join(f"{host}/{index}" for index in range(count))
        if is_torque()
        else f"{host}/0*{count}"
        for host in job["hosts"]
    )
    print(f"Job Id: {name}")
    for key in ("Job_Name", "job_state", "qtime", "stime", "comment", "Exit_status"):
        if key in job and not (key == "comment" and is_torque()):
            print(f"    {key} = {job[key]}")
    if hosts:
        # Long values go on in the next line, behind a tab.
        print(
            f"    exec_host = {hosts[:9]}\n\t{hosts[9:]}"
            if hosts[9:]
            else f"    exec_host = {hosts}"
        )
    print()


def qdel(argv: list[str]) -> None:
    """Jobs by name."""
    code = 0
    with jobs() as known:
        for name in argv:
            found = _of(name, known)
            if not found:
                print(f"qdel: Unknown Job Id {name}.{SERVER}", file=sys.stderr)
                code = 153
            for each in found:
                job = known[each]
                if job["job_state"] in "FC":
                    print(f"qdel: Job has finished {each}", file=sys.stderr)
                    code = 35
                elif job["job_state"] in "QH":
                    job.update(
                        job_state="C" if is_torque() else "F", comment="deleted before it ran"
                    )
                else:
                    os.kill(job["mom"], signal.SIGTERM)
        schedule(known)
    sys.exit(code)


def pbsdsh(argv: list[str]) -> None:
    """`-n LINE -- PROGRAM`: as the task manager starts it, with nearly no environment."""
    if argv[:1] != ["-n"] or argv[2:3] != ["--"]:
        fail("usage: pbsdsh …", 2)
    hosts = Path(os.environ["PBS_NODEFILE"]).read_text().split()
    kept = ("PBS_JOBID", "FAKE_PBS", "FAKE_PBS_FLAVOUR")
    environ = {name: os.environ[name] for name in kept}
    environ |= {"HOSTNAME": hosts[int(argv[1])], "PATH": "/usr/bin:/bin", "PBS_NODENUM": argv[1]}
    os.execve(argv[3], argv[3:], environ)


def pbsnodes(argv: list[str]) -> None:
    """Only has to be there."""
