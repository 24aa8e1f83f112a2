"""The seed's program through `rayhpc submit` on the real YARN, every version."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import rayhpc
from tests.yarn.applications import wait_until
from tests.yarn.labs import SLOW_ON, lab_of, within
from tests.yarn.programs import program, waiting_for
from tests.yarn.seed import ADDRESSES, check_addresses
from tests.yarn.staged import staged
from tests.yarn.terminal import Terminal
from yarn.lab import jars
from yarn.lab.lab import Lab
from yarn.lab.processes import of_containers

pytestmark = within(120)


def at(lab: Lab, tmp_path: Path) -> Terminal:
    return Terminal(lab.client_environment(), tmp_path / "home")


def check_the_seeds_program(lab: Lab, tmp_path: Path, *words: str) -> None:
    user = at(lab, tmp_path)
    user.write("seed.py", ADDRESSES)
    done = user.run(
        "submit", "--scheduler", "yarn", "--nodes", "4", *words, "--", "python", "seed.py"
    )
    assert done.returncode == 0, done.stderr
    assert "is over (SUCCEEDED): the program ended: exit code 0\n" in done.stderr
    wait_until(lambda: not of_containers(lab.layout.run))
    check_addresses(lab, done.stdout)


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
    assert "is over (FAILED): the program ended: exit code 9" in done.stderr
    user.write("worse.py", 'raise ValueError("a reason")\n')
    done = user.run("submit", "--", "python", "worse.py")
    assert done.returncode == 1
    assert 'worse.py", line 1, in <module>' in done.stderr
    assert "\nValueError: a reason\n" in done.stderr
    wait_until(lambda: not of_containers(lab.layout.run))


def test_the_master_may_be_beside_the_command(lab: Lab, tmp_path: Path) -> None:
    """Unmanaged: rank 0 is here, and of four ranks three are in containers."""
    user = at(lab, tmp_path)
    look = "print(os.environ['RAYHPC_RANK'], os.environ['CONTAINER_ID'][-6:])"
    user.write("train.py", program(4, after=look))
    done = user.run("submit", "--nodes", "4", "--yarn", "--unmanaged", "--", "python", "train.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "found 4\n0 000000\n"
    wait_until(lambda: not of_containers(lab.layout.run))


@pytest.mark.parametrize("lab", SLOW_ON, indirect=True)
def test_the_terminal_shows_both_attempts(lab: Lab, tmp_path: Path) -> None:
    user = at(lab, tmp_path)
    go, started = tmp_path / "go", tmp_path / "go.started"
    said = "print('attempt', os.environ['CONTAINER_ID'].split('_')[-2], flush=True)\n"
    user.write("long.py", program(2, before=said + waiting_for(go)))
    follower = user.start("submit", "--nodes", "2", "--", "python", "long.py")
    wait_until(started.exists, 60)
    wait_until(lambda: "attempt 01" in user.shown("stdout"))
    started.unlink()
    kill_master(lab)
    wait_until(started.exists, 60)
    go.touch()
    out, said = follower.communicate(timeout=60)
    assert follower.returncode == 0, said
    assert out == "attempt 01\nattempt 02\nfound 2\n"
    assert "containers left by the attempt before: 1" in said
    assert user.run("logs").stdout == out


@pytest.mark.parametrize("lab", SLOW_ON, indirect=True)
def test_a_job_ends_with_its_last_master(lab: Lab, tmp_path: Path) -> None:
    user = at(lab, tmp_path)
    user.write("long.py", program(2, before=waiting_for(tmp_path / "go")))
    words = ["--nodes", "2", "--no-requeue", "--", "python", "long.py"]
    follower = user.start("submit", *words)
    wait_until((tmp_path / "go.started").exists, 60)
    kill_master(lab)
    _, said = follower.communicate(timeout=60)
    assert follower.returncode == 1, said
    assert "is over (FAILED): " in said
    wait_until(lambda: not of_containers(lab.layout.run))


def kill_master(lab: Lab) -> None:
    """The process alone: what it has started must end by itself, or by YARN."""
    for process, command in of_containers(lab.layout.run):
        if "rayhpc.batch.yarn.master" in command:
            process.send(9)


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
    wait_until(lambda: not of_containers(lab.layout.run))


@pytest.fixture(scope="module", params=SLOW_ON)
def ha_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Two ResourceManagers; files are staged in HDFS."""
    with lab_of(request.param, nodes=4, ha=True, hdfs=True) as lab:
        yield lab


def test_four_addresses_with_two_managers(ha_lab: Lab, tmp_path: Path) -> None:
    check_the_seeds_program(ha_lab, tmp_path)


@within(240)
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
    wait_until(lambda: not of_containers(ha_lab.layout.run))


def eventually_says(user: Terminal, text: str, limit_s: float) -> bool:
    """Whether a follower comes to show this text; prints what it shows if it does not."""
    log = [""]

    def says() -> bool:
        log[0] = user.shown("stderr")
        return text in log[0]

    try:
        wait_until(says, limit_s)
    except AssertionError:
        print(log[0])
        return False
    return True


@within(180)
def test_files_are_shipped_through_hdfs(ha_lab: Lab, tmp_path: Path) -> None:
    user = at(ha_lab, tmp_path)
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
    assert staged(ha_lab) == []
    (user.folder / "env.tar.gz").write_bytes(an_environment())
    (user.folder / "rayhpc.whl").write_bytes(wheel_of_ours())
    user.write("train.py", "import rayhpc\nprint(rayhpc.__file__)\n")
    words = ["--yarn", "--archive env.tar.gz --wheel rayhpc.whl", "--", "python", "train.py"]
    done = user.run("submit", *words)
    assert done.returncode == 0, done.stderr
    assert "/rayhpc-wheel/rayhpc/__init__.py" in done.stdout
    user.write("train.py", text)
    if len(SLOW_ON) > 1:
        # The same through the `hdfs` command, which here is Hadoop's own file system shell:
        # six starts of Java.
        user.environ["PATH"] += f":{hdfs_command(ha_lab, tmp_path)}"
        options = ["--yarn", f"{ship} --staging hdfs"]
        done = user.run("submit", *options, "--", "python", "train.py")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("42 True ")
        assert staged(ha_lab) == []


def an_environment() -> bytes:
    """A packed one, whose interpreter is ours."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        program = f'#!/bin/sh\nexec {sys.executable} "$@"\n'.encode()
        member = tarfile.TarInfo("bin/python")
        member.size, member.mode = len(program), 0o755
        archive.addfile(member, io.BytesIO(program))
    return packed.getvalue()


def wheel_of_ours() -> bytes:
    """The package as a wheel has it."""
    packed, package = io.BytesIO(), Path(rayhpc.__file__).parent
    with zipfile.ZipFile(packed, "w") as archive:
        for path in package.rglob("*.py"):
            archive.write(path, path.relative_to(package.parent))
    return packed.getvalue()


def hdfs_command(lab: Lab, tmp_path: Path) -> Path:
    """A folder with an `hdfs` that runs `hdfs dfs` as Hadoop's own script does."""
    classes = f"{lab.layout.configuration('client')}:{jars.fetch(lab.layout.options.hadoop)}/*"
    shell = "org.apache.hadoop.fs.FsShell"
    folder = tmp_path / "bin"
    folder.mkdir()
    text = f'#!/bin/sh\nshift\nexec {jars.java()} -cp "{classes}" {shell} "$@"\n'
    (folder / "hdfs").write_text(text)
    (folder / "hdfs").chmod(0o755)
    return folder
