"""`rayhpc submit --scheduler yarn` and the verbs for its jobs, on the fake YARN: everywhere."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hadoop.kerberos_files import PRINCIPAL, realm, write_ticket
from tests.yarn.applications import wait_until
from tests.yarn.fake.cluster import FakeYarn
from tests.yarn.programs import program, waiting_for
from tests.yarn.terminal import Terminal


@pytest.fixture(scope="module")
def yarn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeYarn]:
    cluster = FakeYarn(tmp_path_factory.mktemp("yarn"), nodes=3, protection="auth")
    yield cluster
    cluster.close()


@pytest.fixture
def user(yarn: FakeYarn, tmp_path: Path) -> Terminal:
    return Terminal({"HADOOP_CONF_DIR": str(yarn.configuration)}, tmp_path / "home")


def test_a_program_runs_on_all_nodes_and_is_shown(user: Terminal, yarn: FakeYarn) -> None:
    name = user.write("train.py", "#RAYHPC --nodes 3\n" + program(3))
    done = user.run("submit", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "found 3\n"
    assert "yarn-site.xml is there" in done.stderr
    assert "rayhpc: ready, 3 nodes at " in done.stderr
    assert "is over (SUCCEEDED): the program ended: exit code 0\n" in done.stderr
    again = user.run("logs", "last")
    assert again.stdout == "found 3\n"
    (job,) = json.loads(user.run("jobs", "--json").stdout)
    assert (job["status"]["state"], job["status"]["exit_code"]) == ("done", 0)
    assert not list(user.folder.glob("jobs/*/staged"))
    wait_until(lambda: yarn.running() == [])
    # Fetched from the container's logs; asked for again where it is not there.
    (recorded,) = user.folder.glob("jobs/*/recording")
    recorded.unlink()
    report = user.run("report", "--json")
    assert json.loads(report.stdout)["overview"]["nodes_asked"] == 3, report.stderr


def test_a_failure_comes_with_its_code_and_traceback(user: Terminal) -> None:
    name = user.write("bad.py", 'print("so far", flush=True)\nraise ValueError("a reason")\n')
    done = user.run("submit", "--scheduler", "yarn", "--env", "A=1", "--", "python", name)
    assert done.returncode == 1
    assert done.stdout == "so far\n"
    assert "ValueError: a reason" in done.stderr
    assert "is over (FAILED): the program ended: exit code 1" in done.stderr
    said = user.run("explain").stdout
    assert "is over (FAILED, exit code 1): the program ended: exit code 1" in said


def test_a_detached_job_can_be_looked_at_and_cancelled(
    user: Terminal, yarn: FakeYarn, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    # It has said something, and then is silent: no reason to wait for it.
    before = 'print("begun", flush=True)' + waiting_for(go)
    name = user.write("long.py", program(2, before=before))
    done = user.run("submit", "--nodes", "2", "--detach", "--json", "--", "python", name)
    job = json.loads(done.stdout)["id"]
    assert job.startswith("application_")
    wait_until((tmp_path / "go.started").exists)
    assert "ready, 2 nodes" in user.run("logs").stderr
    assert "runs in queue default" in user.run("explain", job).stdout
    look = "import os; print(os.environ['RAYHPC_ADDRESS'])"
    here = user.run("exec", job, "--", "python", "-c", look)
    assert here.returncode == 0, here.stderr
    assert ":" in here.stdout
    for words in (("top", job, "--json"), ("dashboard", job)):
        outside = user.run(*words)
        assert outside.returncode == 73, outside.stderr
        assert "run the command from the program" in outside.stderr
    follower = user.start("logs", "-f", job)
    assert user.run("cancel", job).returncode == 0
    assert follower.wait(30) == 79
    follower.communicate()
    assert user.run("wait", job).returncode == 79
    (found,) = json.loads(user.run("jobs", "--json").stdout)
    assert found["status"]["state"] == "cancelled"
    wait_until(lambda: yarn.running() == [])


@pytest.fixture
def own_user(yarn: FakeYarn) -> Iterator[str]:
    """Containers run as the user whose they are, as with LinuxContainerExecutor."""
    for node in yarn.nodes:
        node.user = pwd.getpwuid(os.geteuid()).pw_name
    yield yarn.nodes[0].user
    for node in yarn.nodes:
        node.user = "nobody"


# What sshd does: a login's own environment, and all words to its shell as one line.
SSH = """#!/bin/bash
echo "$1" > {asked}
[ "$2" = -- ] && exec env -i HOME=/ PATH="$PATH" /bin/sh -c "${{*:3}}"
"""
ELSEWHERE = """
from rayhpc.batch.yarn import jobs
from rayhpc.cli.main import main
jobs._is_here = lambda host: False
main()
"""


@pytest.mark.usefixtures("own_user")
def test_containers_of_ones_own_can_be_watched_from_elsewhere(
    user: Terminal, yarn: FakeYarn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, asked = tmp_path / "go", tmp_path / "asked"
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH.format(asked=asked))
    ssh.chmod(0o700)
    name = user.write("long.py", program(2, before=waiting_for(go)))
    done = user.run("submit", "--nodes", "2", "--detach", "--json", "--", "python", name)
    job = json.loads(done.stdout)["id"]
    wait_until((tmp_path / "go.started").exists)
    here = user.run("top", job, "--json")
    assert json.loads(here.stdout)["cluster"]["nodes"] == 2, here.stderr
    user.environ["PATH"] = f"{ssh.parent}:/usr/bin:/bin"
    monkeypatch.setattr(user, "command", lambda *words: [sys.executable, "-c", ELSEWHERE, *words])
    there = user.run("top", job, "--json")
    assert json.loads(there.stdout)["cluster"]["nodes"] == 2, there.stderr
    assert asked.read_text() == f"{yarn.nodes[0].host}\n"
    look = "import os; print(os.environ['RAYHPC_ADDRESS'])"
    there = user.run("exec", job, "--", sys.executable, "-c", look)
    assert ":" in there.stdout, there.stderr
    monkeypatch.undo()
    go.touch()
    assert user.run("wait", job).returncode == 0


def test_who_follows_may_leave(user: Terminal, tmp_path: Path) -> None:
    go = tmp_path / "go"
    name = user.write("long.py", program(1, before=waiting_for(go)))
    follower = user.start("submit", "--", "python", name)
    wait_until((tmp_path / "go.started").exists)
    follower.send_signal(signal.SIGINT)
    _, said = follower.communicate(timeout=30)
    assert follower.returncode == 130
    assert "continues: `rayhpc logs -f application_" in said
    go.touch()
    done = user.run("wait")
    assert done.returncode == 0, done.stderr
    assert user.run("logs").stdout == "found 1\n"


def test_a_range_of_nodes_makes_a_job_that_grows(user: Terminal) -> None:
    done = user.run("submit", "--scheduler", "yarn", "--nodes", "1:3", "--dry-run", "--", "true")
    assert done.returncode == 0, done.stderr
    assert '"--elastic", "3"' in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--mem", "9G"], "memory: 9216 MiB asked, at most 8192 MiB per container"),
        (["--cpus-per-node", "9"], "vcores: 9 asked, at most 8 per container"),
        (["--gpus-per-node", "3"], "GPUs: 3 asked, at most 2 per container"),
        (["--partition", "nosuch"], "--partition nosuch: this cluster has no queue of that name"),
        (["--constraint", "big"], "--constraint big: no node label of this cluster's; it has none"),
        (["--nodes", "4"], "--nodes 4: this cluster has 3 nodes that run"),
        (["--array", "0-3"], "--array: YARN has none"),
        (["--yarn", "--nosuch"], "--yarn: unrecognized arguments: --nosuch"),
        (["--yarn", "--files nosuch"], "there is no file nosuch to ship"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    user: Terminal, yarn: FakeYarn, words: list[str], says: str
) -> None:
    done = user.run("submit", "--scheduler", "yarn", *words, "--", "true")
    assert done.returncode == 78, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(user.folder.glob("jobs/*"))
    assert yarn.running() == []


def test_a_wrong_configuration_is_named(user: Terminal, tmp_path: Path) -> None:
    (tmp_path / "yarn-site.xml").write_text("<configuration><property></configuration>")
    for folder, says in (
        (tmp_path, f"{tmp_path}/yarn-site.xml cannot be read: mismatched tag"),
        (tmp_path / "nosuch", f"{tmp_path}/nosuch has no yarn-site.xml: set HADOOP_CONF_DIR"),
    ):
        user.environ["HADOOP_CONF_DIR"] = str(folder)
        done = user.run("submit", "--scheduler", "yarn", "--", "true")
        assert done.returncode == 78
        assert says in done.stderr


def test_an_expired_ticket_is_named_and_nothing_submitted(
    user: Terminal, yarn: FakeYarn, tmp_path: Path
) -> None:
    secure = tmp_path / "conf"
    shutil.copytree(yarn.configuration, secure)
    (secure / "core-site.xml").write_text(
        "<configuration><property><name>hadoop.security.authentication</name>"
        "<value>kerberos</value></property></configuration>"
    )
    site = (secure / "yarn-site.xml").read_text()
    principal = "<name>yarn.resourcemanager.principal</name><value>rm/_HOST@EXAMPLE.ORG</value>"
    (secure / "yarn-site.xml").write_text(
        site.replace("</configuration>", f"<property>{principal}</property></configuration>")
    )
    user.environ |= {"HADOOP_CONF_DIR": str(secure), **realm(tmp_path, "127.0.0.1:1")}
    write_ticket(tmp_path, -60)
    done = user.run("submit", "--scheduler", "yarn", "--", "true")
    assert done.returncode == 75, done.stderr
    assert f"Kerberos: the ticket of {PRINCIPAL} expired on " in done.stderr
    assert ": kinit gets a new one\n" in done.stderr
    assert not list(user.folder.glob("jobs/*"))
    assert yarn.running() == []


def test_a_job_that_yarn_has_forgotten_is_not_waited_for(
    user: Terminal, yarn: FakeYarn, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    name = user.write("long.py", program(1, before=waiting_for(go)))
    follower = user.start("submit", "--", "python", name)
    wait_until((tmp_path / "go.started").exists)
    yarn.forget_applications()
    go.touch()
    _, said = follower.communicate(timeout=30)
    assert follower.returncode == 75, said
    assert "YARN no longer knows the job" in said


def test_a_job_ends_with_its_last_master(user: Terminal, yarn: FakeYarn, tmp_path: Path) -> None:
    name = user.write("long.py", program(2, before=waiting_for(tmp_path / "go")))
    words = ["--nodes", "2", "--no-requeue", "--", "python", name]
    follower = user.start("submit", *words)
    wait_until((tmp_path / "go.started").exists)
    containers = yarn.running()
    there = processes_of(containers)
    assert len(there) > len(containers)
    # It alone: what it has started must end by itself, or by YARN.
    (master,) = [pid for pid, command in there.items() if b"rayhpc.batch.yarn.master" in command]
    os.kill(master, signal.SIGKILL)
    _, said = follower.communicate(timeout=30)
    assert follower.returncode == 1, said
    assert "is over (FAILED): AM Container exited with exitCode: " in said
    wait_until(lambda: not processes_of(containers))


def processes_of(containers: list[str]) -> dict[int, list[bytes]]:
    """The processes of these containers, with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            environ = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # not a process, or not one any more
        if any(f"CONTAINER_ID={each}".encode() in environ for each in containers):
            found[int(entry.name)] = words
    return found


def test_the_whole_submission_is_shown(user: Terminal) -> None:
    done = user.run("submit", "--dry-run", "--nodes", "2", "--time", "10", "--", "python", "x")
    assert done.returncode == 0, done.stderr
    assert "\n  nodes: 2\n" in done.stdout
    assert "\n  lifetime: 600   # seconds" in done.stdout
    assert '\n  command: ["python", "x"]\n' in done.stdout


def test_the_master_may_be_beside_the_command(user: Terminal, yarn: FakeYarn) -> None:
    look = (
        "print(os.environ['RAYHPC_RANK'], os.environ['CONTAINER_ID'][-6:])\n"
        "ends = [float(x['Labels']['rayhpc.io/end-time']) for x in rayhpc.nodes()]\n"
        "print([500 < end - time.time() < 600 for end in ends])"
    )
    name = user.write("train.py", program(2, after=look))
    options = ["--nodes", "2", "--time", "10", "--yarn", "--unmanaged"]
    done = user.run("submit", *options, "--", "python", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "found 2\n0 000000\n[True, True]\n"
    assert user.run("logs").stdout == done.stdout
    wait_until(lambda: yarn.running() == [])


def test_a_master_beside_the_command_ends_with_it(
    user: Terminal, yarn: FakeYarn, tmp_path: Path
) -> None:
    name = user.write("long.py", program(2, before=waiting_for(tmp_path / "go")))
    options = ["--nodes", "2", "--yarn", "--unmanaged"]
    follower = user.start("submit", *options, "--", "python", name)
    wait_until((tmp_path / "go.started").exists)
    assert len(yarn.running()) == 1
    follower.kill()
    follower.communicate()
    wait_until(lambda: yarn.running() == [])

    def state() -> str:
        (found,) = json.loads(user.run("jobs", "--json").stdout)
        return str(found["status"]["state"])

    # YARN hears of a master's end when it has not heard of the master for a while.
    wait_until(lambda: state() in ("failed", "cancelled"), 30.0)
