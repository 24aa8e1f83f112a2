"""Jobs on a real Grid Engine: submitted, followed, explained, cancelled; nothing left of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal

import pytest

from rayhpc.exit_codes import ExitCode
from tests.docs.commands import commands_of
from tests.sge.lab_cluster import ROOT, SgeCluster
from tests.slurm.user import User, eventually, first_line

NOTIFY_S = 8.0  # of the lab's queue, after which Grid Engine kills


def detached(user: User, *words: str) -> str:
    """A job of these words, submitted; its number."""
    done = user.rayhpc("submit", "--json", "--detach", *words, check=True)
    return str(json.loads(done.stdout)["id"])


def running(user: User, *words: str) -> str:
    """A job of these words that runs its program; its number."""
    job = detached(user, *words)
    assert eventually(lambda: "up\n" in user.rayhpc("logs", job).stdout, 60), job
    return job


def program(user: User, body: str) -> str:
    """A program that says `up` when its cluster is there."""
    user.write("program.py", f"import ray\nray.init('auto')\nprint('up', flush=True)\n{body}\n")
    return "program.py"


def test_the_first_program_of_every_tutorial(user: User) -> None:
    user.write("addresses.py", (ROOT / "rayhpc" / "examples" / "addresses.py").read_text())
    done = user.submit("--nodes", "2", "--", "python", "addresses.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("10.78.0.") == 2, done.stdout
    (row,) = user.json("jobs")
    assert row["scheduler"] == "sge"
    assert row["status"]["exit_code"] == 0
    assert row["status"]["nodes"] == "host1,host2"


def test_nothing_is_left_of_it(user: User, lab: SgeCluster) -> None:
    assert user.submit("--nodes", "2", "--", "true").returncode == 0
    assert eventually(lambda: lab.processes() == [], 60), lab.processes()


def test_slots_are_cpus(user: User) -> None:
    """A node has as many CPUs as its host gives slots, but no more than the host has."""
    body = "print(sorted(node['Resources']['CPU'] for node in ray.nodes()))"
    name, most = program(user, body), float(min(4, os.cpu_count() or 1))
    done = user.submit("--nodes", "2", "--", "python", name)
    assert f"[{most}, {most}]" in done.stdout, done.stderr
    done = user.submit("--nodes", "2", "--cpus-per-node", "1", "--", "python", name)
    assert "[1.0, 1.0]" in done.stdout, done.stderr
    assert "in turn is used, and may give" in done.stderr
    done = user.submit("--cpus-per-node", "1", "--", "python", name)
    assert "[1.0]" in done.stdout, done.stderr


@pytest.mark.parametrize(("code", "seen"), [(3, 3), (99, 99), (100, 100)])
def test_exit_codes(user: User, code: int, seen: int) -> None:
    """Also those of which Grid Engine makes something of its own."""
    assert user.submit("--", "sh", "-c", f"exit {code}").returncode == seen
    assert user.json("jobs")[0]["status"]["exit_code"] == seen


def test_words_arrive_as_they_are(user: User) -> None:
    words = ["it's", 'a "b"', "$HOME", "c\nd", "*", ""]
    user.write("show.py", "import sys, os\nprint(sys.argv[1:], os.environ['OWN'])\n")
    more = ("--env", "OWN=x y'z", "--job-name", "1 odd/name")
    done = user.submit("--nodes", "2", *more, "--", "python", "show.py", *words)
    assert done.stdout == f"{words!r} x y'z\n", done.stderr


def test_an_array_of_jobs(user: User) -> None:
    user.write("task.sh", "#!/bin/bash\necho task $SGE_TASK_ID\nexit $SGE_TASK_ID\n")
    done = user.submit("--array", "1-3%2", "--", "./task.sh")
    assert done.returncode == 3, done.stderr
    for task in ("1", "2", "3"):
        assert f"task {task}: exit code {task}" in done.stderr
        shown = user.rayhpc("logs", f"last_{task}")
        assert shown.stdout == f"task {task}\n"
    done = user.submit("--array", "0-2", "--", "true")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "one range from 1 on" in done.stderr


def test_a_task_is_cancelled_alone(user: User) -> None:
    job = detached(user, "--array", "1-2", "--", "sleep", "60")
    assert eventually(lambda: user.json("jobs", f"{job}_1")[0]["status"]["state"] == "running", 30)
    user.rayhpc("cancel", f"{job}_1", check=True)

    def states() -> list[str]:
        rows = user.json("jobs", f"{job}_[1,2]")
        return [row["status"]["state"] for row in rows]

    assert eventually(lambda: states() == ["failed", "running"], 60), states()
    user.rayhpc("cancel", job, check=True)


def test_the_notice_ends_the_program_in_good_order(user: User, lab: SgeCluster) -> None:
    """qdel is SIGUSR2 to every process of the job, and SIGKILL after `notify`."""
    body = (
        "import signal, sys, time\n"
        "def end(*_):\n    print('last words', flush=True)\n    sys.exit(5)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "@ray.remote\ndef work():\n    time.sleep(100)\n"
        "refs = [work.remote() for _ in range(4)]\n"
        "print('ready', flush=True)\n"
        "time.sleep(100)"
    )
    job = running(user, "--nodes", "2", "--", "python", program(user, body))
    assert eventually(lambda: "ready\n" in user.rayhpc("logs", job).stdout, 60), job
    user.run("qdel", job, check=True)
    assert eventually(lambda: lab.processes() == [], 60), lab.processes()
    # Grid Engine has killed nothing: then the code would be 137, and nobody there to sum it up.
    assert user.rayhpc("wait", job).returncode == 5
    logs = user.rayhpc("logs", job)
    assert "last words" in logs.stdout
    assert re.search(r"^rayhpc: 2 nodes, .*, exit code 5$", logs.stderr, re.MULTILINE), logs.stderr


def test_a_program_that_does_not_heed_it(user: User, lab: SgeCluster) -> None:
    """It is ended before Grid Engine kills, so that somebody is left to say so."""
    body = "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: None)\n"
    body += "while True: time.sleep(1)"
    job = running(user, "--nodes", "2", "--", "python", program(user, body))
    user.rayhpc("cancel", job, check=True)
    assert user.rayhpc("wait", job).returncode == ExitCode.CANCELLED
    said = user.rayhpc("logs", job).stderr
    assert "after it was told to end (Grid Engine kills after 8 s" in said, said
    assert eventually(lambda: lab.processes() == [], 60), lab.processes()


def test_a_time_limit(user: User) -> None:
    job = running(
        user, "--time", "0:0:4", "--", "python", program(user, "import time; time.sleep(90)")
    )
    assert user.rayhpc("wait", job, timeout=90).returncode not in (0, None)


def test_what_cannot_be_is_refused_at_once(user: User) -> None:
    done = user.submit("--nodes", "3", "--", "true")
    assert done.returncode == ExitCode.SCHEDULER
    assert 'PE "hosts" because it only offers 8 slots' in done.stderr
    assert "fewer --nodes" in done.stderr
    done = user.submit("--partition", "no.q", "--", "true")
    assert "`qconf -sql` lists them" in done.stderr
    done = user.submit("--account", "nobody", "--", "true")
    assert "must name a Grid Engine project" in done.stderr
    done = user.submit("--gpus-per-node", "1", "--", "true")
    assert "--sge '-l gpu=1'" in done.stderr
    done = user.submit("--nodes", "2", "--cpus-per-node", "3", "--dry-run", "--", "true")
    assert "#$ -pe turns 6" in done.stdout, done.stderr
    assert user.rayhpc("jobs").stdout.startswith("no jobs yet"), "nothing is left of these"


def test_why_a_job_waits_and_what_would_start_sooner(user: User) -> None:
    first = running(user, "--", "python", program(user, "import time; time.sleep(90)"))
    waiting = detached(user, "--nodes", "2", "--", "true")
    assert user.json("jobs", waiting)[0]["status"]["state"] == "pending"

    def said() -> str:
        return user.rayhpc("explain", waiting).stdout

    assert f"job {waiting} is waiting (qw)" in said()
    assert 'now: it cannot run in PE "hosts" because it only offers' in said()
    assert "with --nodes 1 it would start now" in said()
    held = detached(user, "--dependency", f"afterany:{first}", "--", "true")
    assert "it is held" in user.rayhpc("explain", held).stdout
    user.rayhpc("cancel", held, waiting, first, check=True)
    done = user.submit("--test", "--nodes", "2", "--", "true")
    assert done.stdout in ("it would run now\n", "it would run, but not now\n")


def test_a_command_beside_the_program(user: User) -> None:
    job = running(
        user, "--nodes", "2", "--", "python", program(user, "import time; time.sleep(90)")
    )
    look = "import rayhpc; rayhpc.init('auto'); print(len(rayhpc.nodes()), 'nodes')"
    done = user.rayhpc("exec", job, "--", "python", "-c", look)
    assert done.stdout == "2 nodes\n", done.stderr
    line = user.rayhpc("forward", job, "8265", check=True).stdout
    assert "@host" in line
    user.rayhpc("cancel", job, check=True)


def test_run_in_a_script_of_ones_own(user: User) -> None:
    """Without `rayhpc submit`: `rayhpc run` starts the ranks by itself."""
    user.write("addresses.py", (ROOT / "rayhpc" / "examples" / "addresses.py").read_text())
    shutil.copy(ROOT / "sge" / "ray_job.sh", user.directory)
    user.run("qsub", "-V", "-o", "out", "-e", "err", "ray_job.sh", check=True)
    err = user.directory / "err"
    assert eventually(lambda: err.exists() and "exit code" in err.read_text(), 60)
    out = (user.directory / "out").read_text()
    assert "exit code 0" in err.read_text()
    assert out.count("10.78.0.") == 2, out + err.read_text()


def test_facts_of_an_allocation(user: User) -> None:
    done = user.submit("--nodes", "2", "--", "rayhpc", "doctor", "--json")
    facts = json.loads(done.stdout)["allocation"]
    assert facts["scheduler"]["value"] == "sge"
    assert facts["launcher"]["value"] == "qrsh"
    assert (facts["rank"]["value"], facts["size"]["value"]) == (0, 2)
    assert sorted(facts["nodes"]["value"]) == ["host1", "host2"]
    assert facts["notify"]["value"] == NOTIFY_S


def test_ctrl_c_leaves_the_job(user: User) -> None:
    words = ("submit", "--", "python", program(user, "import time; time.sleep(3)"))
    process = user.start("python", "-m", "rayhpc.cli.main", *words)
    first_line(process, "ready")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert user.rayhpc("wait").returncode == 0


@pytest.mark.parametrize("which", ["head", "other"])
def test_a_host_that_dies(lab: SgeCluster, user: User, which: str) -> None:
    """Of a job whose host loses its power nothing runs on the other, and the job ends."""
    body = "import time\nwhile True: time.sleep(0.2); ray.get(ray.put(1))"
    job = running(user, "--nodes", "2", "--", "python", program(user, body))
    head = user.json("jobs", job)[0]["status"]["nodes"]
    (other,) = set(lab.names) - {head}
    dead = head if which == "head" else other
    lab.verb("node-kill", dead)
    try:
        if which == "other":
            user.rayhpc("cancel", job, check=True)
            assert user.rayhpc("wait", job).returncode == 128 + signal.SIGTERM
        assert eventually(lambda: lab.processes() == [], 40), lab.processes()
    finally:
        lab.verb("node-start", dead)
        load = ["bash", "-c", f"qhost -h {dead} | tail -1 | awk '{{print $4}}'"]
        assert eventually(lambda: user.run(*load).stdout.strip() not in ("", "-"), 30)
        user.run("qdel", job)
        assert eventually(lambda: user.run("qstat").stdout == "", 60), user.run("qstat").stdout


def test_the_page_as_it_stands(user: User) -> None:
    """Every command of docs/gridengine.md, in order."""
    user.write("addresses.py", (ROOT / "rayhpc" / "examples" / "addresses.py").read_text())
    lines = commands_of(ROOT / "docs" / "gridengine.md")
    assert len(lines) == 6
    for line in lines:
        done = user.run("bash", "-c", line, timeout=90)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
