"""Jobs on a fake PBS, as OpenPBS and as Torque: it has met no real one."""

from __future__ import annotations

import json
import re
from typing import Any

from rayhpc.exit_codes import ExitCode
from tests.docs.commands import commands_of
from tests.pbs.conftest import PbsUser
from tests.slurm.fake.cluster import ROOT
from tests.slurm.user import eventually


def rows(user: PbsUser, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(user.rayhpc("jobs", *words, "--json").stdout)
    return found


def detached(user: PbsUser, *words: str) -> str:
    done = user.rayhpc("submit", "--json", "--detach", *words)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["id"])


def running(user: PbsUser, body: str, *words: str) -> str:
    program = user.home / "program.py"
    program.write_text(f"import ray\nray.init('auto')\nprint('up', flush=True)\n{body}\n")
    job = detached(user, *words, "--", "python", "program.py")
    seen = eventually(lambda: "up\n" in user.rayhpc("logs", job).stdout, 60)
    assert seen, user.rayhpc("logs", job).stderr
    return job


def test_two_hosts(user: PbsUser) -> None:
    program = user.home / "nodes.py"
    program.write_text(
        "import ray\nray.init('auto')\n"
        "print(len(ray.nodes()), sorted(n['Resources']['CPU'] for n in ray.nodes()))\n"
    )
    done = user.rayhpc("submit", "--nodes", "2", "--cpus-per-node", "1", "--", "python", "nodes.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 [1.0, 1.0]\n"
    assert "scheduler pbs" in done.stderr
    (row,) = rows(user)
    assert (row["id"], row["scheduler"]) == ("1", "pbs")
    assert row["status"]["nodes"] == "n1,n2"
    assert not list((user.home / "jobs").rglob(".step-*")), "the environment's file is gone"
    assert eventually(lambda: user.processes() == [], 60), user.processes()


def test_exit_codes_and_words(user: PbsUser) -> None:
    words = ["it's", 'a "b"', "$HOME", "c\nd", "*", ""]
    program = user.home / "show.py"
    program.write_text("import sys, os\nprint(sys.argv[1:], os.environ['OWN'])\nsys.exit(7)\n")
    more = ("--env", "OWN=x y'z", "--job-name", "1 odd/name", "--nodes", "2")
    done = user.rayhpc("submit", *more, "--", "python", "show.py", *words)
    assert (done.returncode, done.stdout) == (7, f"{words!r} x y'z\n"), done.stderr


def test_an_array(user: PbsUser) -> None:
    script = user.home / "task.sh"
    # Long enough that PBS itself is asked how the array is.
    script.write_text("#!/bin/bash\necho task ${PBS_ARRAY_INDEX:-$PBS_ARRAYID}; sleep 3\n")
    done = user.rayhpc("submit", "--array", "1-2", "--", "bash", "task.sh")
    assert done.returncode == 0, done.stderr
    for task in ("1", "2"):
        assert user.rayhpc("logs", f"last_{task}").stdout == f"task {task}\n"


def test_options_become_resources(user: PbsUser) -> None:
    more = ("--mem", "8G", "--gpus-per-node", "2", "--time", "1:00:00", "--account", "proj")
    shape = ("--nodes", "2", "--cpus-per-node", "4", "--partition", "long")
    script = user.rayhpc("submit", "--dry-run", *shape, *more, "--", "true").stdout
    lines = [line for line in script.splitlines() if line.startswith("#PBS")]
    if user.flavour == "openpbs":
        assert "#PBS -l select=2:ncpus=4:mpiprocs=1:ngpus=2:mem=8388608kb" in lines
        assert "#PBS -l place=scatter" in lines
        assert "#PBS -P proj" in lines
    else:
        assert "#PBS -l nodes=2:ppn=4:gpus=2" in lines
        assert "#PBS -l pmem=2097152kb" in lines
        assert "#PBS -A proj" in lines
    assert "#PBS -l walltime=3600" in lines
    assert "#PBS -q long" in lines


def test_qdel_ends_the_program_in_good_order(user: PbsUser) -> None:
    body = (
        "import signal, sys, time\n"
        "def end(*_):\n    print('last words', flush=True)\n    sys.exit(5)\n"
        "signal.signal(signal.SIGTERM, end)\ntime.sleep(100)"
    )
    job = running(user, body, "--nodes", "2")
    assert user.run("qdel", job).returncode == 0
    assert eventually(lambda: user.processes() == [], 60), user.processes()
    # PBS has killed nothing: then the job's code would be 137, and nobody there to sum it up.
    assert user.rayhpc("wait", job).returncode == 5
    logs = user.rayhpc("logs", job)
    assert "last words" in logs.stdout
    assert re.search(r"^rayhpc: 2 nodes, .*, exit code 5$", logs.stderr, re.MULTILINE), logs.stderr


def test_what_waits_and_what_never_runs(user: PbsUser) -> None:
    first = running(user, "import time; time.sleep(90)", "--nodes", "2", "--cpus-per-node", "4")
    waiting = detached(user, "--nodes", "2", "--cpus-per-node", "4", "--", "true")
    (row,) = rows(user, waiting)
    assert row["status"]["state"] == "pending"
    said = user.rayhpc("explain", waiting).stdout
    held = detached(user, "--dependency", f"afterany:{first}", "--", "true")
    assert "it is held" in user.rayhpc("explain", held).stdout
    if user.flavour == "openpbs":
        assert f"job {waiting} is waiting: insufficient amount of resource: ncpus" in said
        done = user.rayhpc("submit", "--nodes", "3", "--", "true")
        assert done.returncode == ExitCode.SCHEDULER
        assert "can never start, so it is cancelled" in done.stderr
    user.rayhpc("cancel", waiting, held, first)
    assert user.rayhpc("wait", waiting).returncode == ExitCode.CANCELLED


def test_refusals_name_a_remedy(user: PbsUser) -> None:
    done = user.rayhpc("submit", "--partition", "no.q", "--", "true")
    assert done.returncode == ExitCode.SCHEDULER
    assert "Unknown queue" in done.stderr
    assert "`qstat -Q` lists them" in done.stderr
    done = user.rayhpc("submit", "--account", "nobody", "--", "true")
    assert "--account (the project)" in done.stderr
    for wrong in ("whenever:1", "afterok", "afterok:none"):
        done = user.rayhpc("submit", "--dependency", wrong, "--", "true")
        assert done.returncode == ExitCode.SCHEDULER
        assert "write, for example, afterok:123" in done.stderr
    done = user.rayhpc("submit", "--pbs", "-Z", "--", "true")
    assert "look at it with --dry-run" in done.stderr


def test_run_in_a_script_of_ones_own(user: PbsUser) -> None:
    program = user.home / "nodes.py"
    program.write_text("import ray\nray.init('auto')\nprint(len(ray.nodes()))\n")
    shape = "nodes=2:ppn=1" if user.flavour == "torque" else "select=2:ncpus=1:mpiprocs=1"
    script = user.home / "own.sh"
    script.write_text(
        f"#!/bin/bash\n#PBS -V\n#PBS -l {shape}\n#PBS -o {user.home}/out\n"
        'cd "$PBS_O_WORKDIR"\nrayhpc run -- python nodes.py\n'
    )
    assert user.run("qsub", "own.sh").returncode == 0
    out = user.home / "out"
    seen = eventually(lambda: out.exists() and "exit code" in out.read_text(), 60)
    assert seen, out.read_text()
    assert "2\n" in out.read_text()


def test_the_page_as_it_stands(user: PbsUser) -> None:
    """Every command of docs/pbs.md, in order."""
    (user.home / "train.py").write_text("import ray\nray.init('auto')\n")
    lines = commands_of(ROOT / "docs" / "pbs.md")
    assert len(lines) == 5
    for line in lines:
        done = user.run("bash", "-c", line)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
