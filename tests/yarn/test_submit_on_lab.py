"""The seed's program through `rayhpc submit` on the real YARN, every version."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.hadoop.configuration import Configuration
from rayhpc.hadoop.web import Web
from rayhpc.hadoop.webhdfs import open_webhdfs
from tests.yarn.applications import wait_until
from tests.yarn.labs import SLOW_ON, lab_of
from tests.yarn.programs import program, waiting_for
from tests.yarn.terminal import Terminal
from yarn.lab import jars
from yarn.lab.lab import Lab
from yarn.lab.processes import of_containers

ADDRESSES = """
import os, rayhpc

@rayhpc.remote(num_cpus=1, scheduling_strategy="SPREAD")
def where():
    import time
    time.sleep(0.2)
    return os.environ["NM_HOST"]

rayhpc.init()
found = set()
while len(found) < 4:
    found |= set(rayhpc.get([where.remote() for _ in range(8)]))
print(*sorted(found), sep="\\n")
"""


def at(lab: Lab, tmp_path: Path) -> Terminal:
    return Terminal(lab.client_environment(), tmp_path / "home")


def check_the_seeds_program(lab: Lab, tmp_path: Path, *words: str) -> None:
    user = at(lab, tmp_path)
    user.write("seed.py", ADDRESSES)
    done = user.run(
        "submit", "--scheduler", "yarn", "--nodes", "4", *words, "--", "python", "seed.py"
    )
    assert done.returncode == 0, done.stderr
    hosts = sorted(lab.layout.address(name) for name in lab.layout.node_managers)
    assert done.stdout.split() == hosts
    wait_until(lambda: not of_containers(lab.layout.run), 5.0)


def test_four_nodes_print_four_addresses(lab: Lab, tmp_path: Path) -> None:
    check_the_seeds_program(lab, tmp_path, "--gpus-per-node", "1")


def test_a_failure_comes_with_its_code_and_traceback(lab: Lab, tmp_path: Path) -> None:
    user = at(lab, tmp_path)
    user.write(
        "bad.py",
        'import sys\nprint("x" * 3, flush=True)\nsys.stderr.write("why\\n")\nsys.exit(9)\n',
    )
    done = user.run("submit", "--", "python", "bad.py")
    assert done.returncode == 9
    assert done.stdout == "xxx\n"
    assert "\nwhy\n" in done.stderr
    assert "is over (FINISHED): the program ended: exit code 9" in done.stderr
    user.write("worse.py", 'raise ValueError("a reason")\n')
    done = user.run("submit", "--", "python", "worse.py")
    assert done.returncode == 1
    assert 'worse.py", line 1, in <module>' in done.stderr
    assert "\nValueError: a reason\n" in done.stderr
    wait_until(lambda: not of_containers(lab.layout.run), 5.0)


def test_the_master_may_be_beside_the_command(lab: Lab, tmp_path: Path) -> None:
    """Unmanaged: rank 0 is here, and of four ranks three are in containers."""
    user = at(lab, tmp_path)
    look = "print(os.environ['RAYHPC_RANK'], os.environ['CONTAINER_ID'][-6:])"
    user.write("train.py", program(4, after=look))
    done = user.run("submit", "--nodes", "4", "--yarn", "--unmanaged", "--", "python", "train.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "found 4\n0 000000\n"
    wait_until(lambda: not of_containers(lab.layout.run), 5.0)


@pytest.mark.parametrize("lab", SLOW_ON, indirect=True)
@pytest.mark.timeout(120)
def test_the_terminal_shows_both_attempts(lab: Lab, tmp_path: Path) -> None:
    user = at(lab, tmp_path)
    go, started = tmp_path / "go", tmp_path / "go.started"
    said = "print('attempt', os.environ['CONTAINER_ID'].split('_')[-2], flush=True)\n"
    user.write("long.py", program(2, before=said + waiting_for(go)))
    follower = user.start("submit", "--nodes", "2", "--", "python", "long.py")
    wait_until(started.exists, 60)
    wait_until(lambda: "attempt 01" in user.run("logs").stdout)
    started.unlink()
    for process, command in of_containers(lab.layout.run):
        if "rayhpc.batch.yarn.master" in command:
            process.send(9)
    wait_until(started.exists, 60)
    go.touch()
    out, said = follower.communicate(timeout=60)
    assert follower.returncode == 0, said
    assert out == "attempt 01\nattempt 02\nfound 2\n"
    assert "containers left by the attempt before: 1" in said
    assert user.run("logs").stdout == out


@pytest.mark.parametrize("lab", SLOW_ON, indirect=True)
def test_a_cancelled_job_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    user = at(lab, tmp_path)
    go = tmp_path / "go"
    user.write("long.py", program(2, before=waiting_for(go)))
    follower = user.start("submit", "--nodes", "2", "--", "python", "long.py")
    wait_until((tmp_path / "go.started").exists, 60)
    assert "2 of 2 containers" in user.run("explain").stdout
    assert user.run("cancel").returncode == 0
    assert follower.wait(30) == 79
    follower.communicate()
    wait_until(lambda: not of_containers(lab.layout.run), 5.0)


@pytest.fixture(scope="module", params=SLOW_ON)
def ha_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with lab_of(request.param, nodes=4, ha=True) as lab:
        yield lab


def test_four_addresses_with_two_managers(ha_lab: Lab, tmp_path: Path) -> None:
    check_the_seeds_program(ha_lab, tmp_path)


@pytest.mark.timeout(240)
def test_a_fail_over_in_mid_run_leaves_the_answer_right(ha_lab: Lab, tmp_path: Path) -> None:
    user = at(ha_lab, tmp_path)
    go = tmp_path / "go"
    user.write("long.py", program(2, before=waiting_for(go)))
    follower = user.start("submit", "--nodes", "2", "--", "python", "long.py")
    wait_until((tmp_path / "go.started").exists, 60)
    ha_lab.kill(ha_lab.active_manager())
    assert eventually_says(user, "registering again", 100.0)
    go.touch()
    out, said = follower.communicate(timeout=60)
    assert follower.returncode == 0, said
    assert out == "found 2\n"
    wait_until(lambda: not of_containers(ha_lab.layout.run), 5.0)


def eventually_says(user: Terminal, text: str, limit_s: float) -> bool:
    """Whether a job's log comes to have this text; shows the log if it does not."""
    log = [""]

    def says() -> bool:
        log[0] = user.run("logs").stderr
        return text in log[0]

    try:
        wait_until(says, limit_s)
    except AssertionError:
        print(log[0])
        return False
    return True


@pytest.mark.parametrize("version", SLOW_ON)
@pytest.mark.timeout(180)
def test_kerberos_and_privacy(version: str, tmp_path: Path) -> None:
    with lab_of(version, nodes=4, kerberos=True, protection="privacy") as lab:
        user = at(lab, tmp_path)
        # A secure NodeManager shows no logs without Hadoop's native library, which Maven lacks.
        result = tmp_path / "result"
        user.write("seed.py", ADDRESSES + f"print(*sorted(found), file=open({str(result)!r}, 'w'))")
        done = user.run("submit", "--nodes", "4", "--", "python", "seed.py")
        assert done.returncode == 0, done.stderr
        hosts = sorted(lab.layout.address(name) for name in lab.layout.node_managers)
        assert result.read_text().split() == hosts
        wait_until(lambda: not of_containers(lab.layout.run), 5.0)
        assert "which does not show it; `yarn logs -applicationId application_" in done.stderr
        template = Path(__file__).parents[2] / "yarn" / "plain.yaml"
        user.write("bad.py", "raise SystemExit(9)\n")
        words = ["--template", str(template), "--", "python", "bad.py"]
        assert user.run("submit", *words).returncode == 9
        assert user.run("submit", "--", "python", "bad.py").returncode == 9
        done = user.run("submit", "--yarn", "--unmanaged", "--", "python", "bad.py")
        assert done.returncode == 78
        assert "with Kerberos YARN does not hand out the ApplicationMaster's token" in done.stderr
        user.environ["KRB5CCNAME"] = f"FILE:{tmp_path}/nosuch"
        done = user.run("submit", "--nodes", "2", "--", "python", "seed.py")
        assert done.returncode == 75
        assert "Kerberos: " in done.stderr
        assert "klist shows your tickets" in done.stderr


@pytest.mark.timeout(180)
def test_files_are_shipped_through_hdfs(tmp_path: Path) -> None:
    with lab_of("3.4.3", nodes=2, hdfs=True) as lab:
        user = at(lab, tmp_path)
        user.write("helper.py", "ANSWER = 42\n")
        text = "import helper, os\nprint(helper.ANSWER, os.path.exists('data.txt'), __file__)\n"
        user.write("train.py", text)
        user.write("data.txt", "x")
        ship = "--py-files helper.py --files data.txt"
        done = user.run("submit", "--nodes", "2", "--yarn", ship, "--", "python", "train.py")
        assert done.returncode == 0, done.stderr
        number, there, path = done.stdout.split()
        assert (number, there) == ("42", "True")
        assert not path.startswith(str(user.folder))
        assert staged(lab) == []
        if len(SLOW_ON) > 1:
            # The same through the `hdfs` command, which here is Hadoop's own file system shell:
            # six starts of Java.
            user.environ["PATH"] += f":{hdfs_command(lab, tmp_path)}"
            options = ["--yarn", f"{ship} --staging hdfs"]
            done = user.run("submit", *options, "--", "python", "train.py")
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith("42 True ")
            assert staged(lab) == []


@pytest.mark.timeout(180)
def test_files_are_shipped_through_a_secure_hdfs(tmp_path: Path) -> None:
    with lab_of("3.4.3", nodes=2, hdfs=True, kerberos=True) as lab:
        user = at(lab, tmp_path)
        result = tmp_path / "result"
        user.write("helper.py", "ANSWER = 42\n")
        text = f"print(helper.ANSWER, __file__, file=open({str(result)!r}, 'w'))\n"
        user.write("train.py", f"import helper\n{program(2)}{text}")
        options = ["--nodes", "2", "--yarn", "--py-files helper.py"]
        done = user.run("submit", *options, "--", "python", "train.py")
        assert done.returncode == 0, done.stderr
        number, path = result.read_text().split()
        assert number == "42"
        assert not path.startswith(str(user.folder))
        assert staged(lab) == []


def staged(lab: Lab) -> list[str]:
    """What is left of staged applications in the user's directory in HDFS."""
    configuration = Configuration.of_environment(lab.client_environment())
    web = Web(secure=configuration.is_secure, user=getpass.getuser())
    files = open_webhdfs(configuration, web)
    path = f"{files.home()}/.rayhpc"
    base = f"http://{lab.layout.address('nn')}:9870/webhdfs/v1{path}?op=LISTSTATUS"
    listed = web.json("GET", base)["FileStatuses"]["FileStatus"]
    return [each["pathSuffix"] for each in listed]


def hdfs_command(lab: Lab, tmp_path: Path) -> Path:
    """A folder with an `hdfs` that runs `hdfs dfs` as Hadoop's own script does."""
    classes = f"{lab.layout.configuration('client')}:{jars.fetch('3.4.3')}/*"
    shell = "org.apache.hadoop.fs.FsShell"
    folder = tmp_path / "bin"
    folder.mkdir()
    text = f'#!/bin/sh\nshift\nexec {jars.java()} -cp "{classes}" {shell} "$@"\n'
    (folder / "hdfs").write_text(text)
    (folder / "hdfs").chmod(0o755)
    return folder
