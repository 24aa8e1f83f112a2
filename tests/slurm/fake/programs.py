"""sbatch, srun, squeue, scancel, scontrol, sinfo and sacct of the fake cluster.

Each is a small script on PATH that calls `main` with its name.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from tests.slurm.fake import stepd
from tests.slurm.fake.environment import task_environment
from tests.slurm.fake.model import ENDED
from tests.slurm.fake.options import directives, sbatch_parser, srun_parser
from tests.slurm.fake.settings import Settings
from tests.slurm.fake.wire import NoAnswerError, ask, folder

_LOST = "Unable to contact slurm controller (connect failure)"


def main(name: str, argv: list[str]) -> None:
    """Be one of the programs."""
    settings = Settings.load(folder())
    if "--version" in argv[:1] or "-V" in argv[:1]:
        print(f"slurm {settings.version}")
        return
    globals()[name](settings, argv)


def sbatch(settings: Settings, argv: list[str]) -> None:
    """Submit."""
    outer = sbatch_parser().parse_args(argv)
    script = Path(outer.script).read_text() if outer.script else sys.stdin.read()
    if not script.startswith("#!"):
        fail("sbatch", "This does not look like a batch script.")
    parsed = sbatch_parser().parse_args([*directives(script), *argv])
    options = vars(parsed)
    arguments = options.pop("arguments")
    answer = call(
        "sbatch",
        "submit",
        "Batch job submission failed: ",
        script=script,
        options={name: value for name, value in options.items() if name != "script"},
        environ=dict(os.environ),
        arguments=arguments,
        tasks=_tasks(parsed.array),
        throttle=int((parsed.array or "").partition("%")[2] or 0),
        test=parsed.test_only,
    )
    if parsed.test_only:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(answer["start"]))
        print(
            f"sbatch: Job {answer.get('id', 1)} to start at {at} using {answer['cpus']} processors "
            f"on nodes node[1-{answer['nodes']}] in partition {parsed.partition}",
            file=sys.stderr,
        )
        return
    print(answer["id"] if parsed.parsable else f"Submitted batch job {answer['id']}", flush=True)
    while parsed.wait:
        (row,) = call("sbatch", "queue", "", jobs=[str(answer["id"])])["rows"]
        if row["state"] in ENDED:
            sys.exit(row["code"])
        time.sleep(0.05)


def srun(settings: Settings, argv: list[str]) -> None:
    """Run a step, in this process: its tasks are our children."""
    options = srun_parser(settings).parse_args(argv)
    inside = options.jobid or os.environ.get("SLURM_JOB_ID")
    if inside:
        place = call("srun", "step", "", job=int(inside))
    else:
        known = vars(options)
        place = call("srun", "allocate", "", options=known, environ=dict(os.environ))
    nodes, per_node = _spread(settings, options, place)
    code = _run_tasks(options, place, nodes, per_node)
    if not inside:
        call("srun", "done", "", job=place["job"], code=code)
    sys.exit(code)


def _spread(
    settings: Settings, options: argparse.Namespace, place: dict[str, Any]
) -> tuple[list[str], int]:
    """The step's nodes and its tasks on each."""
    inherits = options.jobid is None
    environ = os.environ if inherits else {}
    count = options.nodes or int(environ.get("SLURM_JOB_NUM_NODES", len(place["nodes"])))
    nodes = place["nodes"][options.relative : options.relative + count]
    told = options.ntasks_per_node or int(environ.get("SLURM_NTASKS_PER_NODE", 0))
    per_node = options.ntasks // len(nodes) if options.ntasks else told or 1
    if settings.number >= (22, 5):
        asked = options.cpus_per_task or int(os.environ.get("SRUN_CPUS_PER_TASK", "0"))
    else:
        asked = options.cpus_per_task or int(os.environ.get("SLURM_CPUS_PER_TASK", "0"))
    if options.cpu_bind != "none" and asked:
        place["cpus"] = min(place["cpus"], asked * per_node)
    return nodes, max(1, per_node)


def _run_tasks(
    options: argparse.Namespace, place: dict[str, Any], nodes: list[str], per_node: int
) -> int:
    keepers: dict[int, int] = {}
    directory = options.chdir or os.getcwd()
    for rank in range(len(nodes) * per_node):
        environ = task_environment(os.environ, place, nodes, rank, per_node)
        node = nodes[rank // per_node]
        keeper = stepd.spawn(options.command, environ, directory, (0, 1, 2))
        keepers[keeper] = rank
        call("srun", "task", "", job=place["job"], pid=keeper, node=node)

    def forward(number: int, frame: object) -> None:
        stepd.signal_all(keepers, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, forward)
    worst = 0
    while keepers:
        pid, status = os.waitpid(-1, 0)
        rank = keepers.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        if code:
            node = nodes[rank // per_node]
            print(
                f"srun: error: {node}: task {rank}: Exited with exit code {code}", file=sys.stderr
            )
        worst = max(worst, code)
        if code and options.kill_on_bad_exit not in ("0", 0):
            for other in keepers:
                stepd.kill_descendants(other)
    return worst


def squeue(settings: Settings, argv: list[str]) -> None:
    """List."""
    parser = argparse.ArgumentParser("squeue", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--noheader", action="store_true", dest="bare")
    parser.add_argument("-t", "--states")
    parser.add_argument("-j", "--jobs")
    parser.add_argument("-r", "--array", action="store_true")
    parser.add_argument("-o", "--format", default="%i %T")
    parser.add_argument("-n", "--name")
    parser.add_argument("-u", "--user")
    options = parser.parse_args(argv)
    wanted = options.jobs.split(",") if options.jobs else None
    answer = call("squeue", "queue", "slurm_load_jobs error: ", jobs=wanted)
    rows = answer["rows"]
    if options.name:
        rows = [row for row in rows if row["name"] in options.name.split(",")]
    if "%k" in options.format:
        rows = list(_grouped(rows))
    for row in rows:
        started = row["start"] and time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(row["start"]))
        fields = {
            "%A": str(row["id"]),
            "%F": str(row["array"]),
            "%K": str(row["task"]),
            "%i": row["label"],
            "%T": row["state"],
            "%r": row["reason"],
            "%S": started or "N/A",
            "%N": row["nodes"],
            "%j": row["name"],
            "%k": row["comment"],
        }
        line = options.format
        for field, value in fields.items():
            line = line.replace(field, str(value))
        print(line)


def _grouped(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """An array's pending tasks on one line, as SLURM shows them: `12_[3-8%2]`."""
    waiting: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        if row["state"] == "PENDING" and row["task"] != "N/A":
            waiting.setdefault(row["array"], []).append(row)
        else:
            yield row
    for array, several in waiting.items():
        numbers = ",".join(str(row["task"]) for row in several)
        limit = f"%{several[0]['throttle']}" if several[0]["throttle"] else ""
        yield {**several[0], "label": f"{array}_[{numbers}{limit}]"}


def scancel(settings: Settings, argv: list[str]) -> None:
    """End."""
    parser = argparse.ArgumentParser("scancel", allow_abbrev=False)
    parser.add_argument("-s", "--signal", default="")
    parser.add_argument("-f", "--full", action="store_true")
    parser.add_argument("-t", "--state", default="")
    parser.add_argument("jobs", nargs="*")
    options = parser.parse_args(argv)
    name = options.signal.removeprefix("SIG")
    jobs = [job for word in options.jobs for job in _expanded(word)]
    answer = call("scancel", "cancel", "", jobs=jobs, signal_name=name, state=options.state)
    for error in answer["errors"]:
        print(f"scancel: error: {error}", file=sys.stderr)
    sys.exit(1 if answer["errors"] else 0)


def _expanded(word: str) -> list[str]:
    """`12_[1,3-5]` is several."""
    job, bracket, rest = word.partition("_[")
    return [f"{job}_{task}" for task in _tasks(rest.rstrip("]"))] if bracket else [word]


def scontrol(settings: Settings, argv: list[str]) -> None:
    """ping, requeue, update, show job, show assoc_mgr users=NAME flags=assoc."""
    argv = [word for word in argv if word != "--oneliner"]
    if argv[:1] == ["ping"]:
        call("scontrol", "ping", "")
        print("Slurmctld(primary) at fake is UP")
    elif argv[:1] == ["requeue"]:
        call("scontrol", "requeue", "", job=int(argv[1]))
    elif argv[:1] == ["update"]:
        told = dict(word.split("=") for word in argv[1:])
        number = int(told["ArrayTaskThrottle"])
        call("scontrol", "throttle", "", job=int(told["JobId"]), throttle=number)
    elif argv[:2] == ["show", "job"]:
        (row,) = call("scontrol", "queue", "", jobs=[argv[2]])["rows"]
        print(f"JobId={row['id']} JobState={row['state']} ExitCode={row['code']}:0")
    elif argv[:2] == ["show", "assoc_mgr"]:
        _show_associations(argv[2].removeprefix("users="))
    else:
        fail("scontrol", f"invalid keyword: {' '.join(argv)}")


def _show_associations(user: str) -> None:
    print("Current Association Manager state\n")
    accounts = call("scontrol", "associations", "")["accounts"]
    if not accounts:
        print("No associations currently cached in Slurm.\n")
        return
    print("Association Records\n")
    for number, account in enumerate(accounts, 2):
        for name in ("", f"{user}({os.getuid()})"):
            print(
                f"ClusterName=fake Account={account} UserName={name} Partition= Priority=0 "
                f"ID={number}\n    SharesRaw/Norm/Level/Factor=1/0.00/1/0.00"
            )


def sinfo(settings: Settings, argv: list[str]) -> None:
    """Only --format '%P|%F', which is all that rayhpc asks for."""
    answer = call("sinfo", "info", "slurm_load_partitions: ")
    counts = f"{answer['busy']}/{answer['idle']}/{answer['down']}/{answer['total']}"
    print(f"debug*|{counts}\nscavenge|{counts}")


def sacct(settings: Settings, argv: list[str]) -> None:
    """-X -n -P -j IDS -o JobID,State,ExitCode,Start,NodeList."""
    names = argv[argv.index("-j") + 1].split(",")
    for row in call("sacct", "account", "", jobs=names)["rows"]:
        print(f"{row['label']}|{row['state']}|{row['code']}:0|Unknown|{row['nodes']}")


def call(program: str, verb: str, before: str, **fields: Any) -> dict[str, Any]:
    """Ask the controller; a refusal ends the program in SLURM's words."""
    try:
        answer = ask(verb, **fields)
    except NoAnswerError:
        fail(program, before + _LOST)
    if "error" in answer:
        fail(program, before + answer["error"])
    return answer


def fail(program: str, text: str) -> NoReturn:
    """End with an error."""
    print(f"{program}: error: {text}", file=sys.stderr)
    sys.exit(1)


def _tasks(array: str | None) -> list[int]:
    found: list[int] = []
    for part in (array or "").partition("%")[0].split(","):
        if part:
            span, _, step = part.partition(":")
            low, _, high = span.partition("-")
            found += range(int(low), int(high or low) + 1, int(step or 1))
    return found
