"""A cluster by hand: start, join, look, connect, stop; and each way in which that can go wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode
from rayhpc.launch import sessions
from rayhpc.launch.head_keeping import MOST
from rayhpc.machine import scratch
from tests.cli.shell import FREE, HEAD, ONE, Shell, heads_of
from tests.launch.processes import family, left_of, lose_power, names_in, wait_until_gone


def test_start_join_look_connect_and_stop(shell: Shell) -> None:
    done = shell(*FREE)
    assert done.returncode == 0, done.stderr
    (head,) = shell.sessions()
    assert f"rayhpc start --address={head.address}\n" in done.stdout
    assert f'rayhpc.init(address="{head.address}")' in done.stdout
    assert f"rayhpc stop --session {head.session_dir}" in done.stdout
    assert str(shell.keys / head.cluster_id) in done.stdout
    assert (shell.keys / head.cluster_id).stat().st_mode & 0o777 == 0o600

    join = ["start", f"--address={head.address}", *ONE, "--node-ip-address", "127.0.0.2"]
    other = shell.start(*join, "--labels", "zone=b", "--resources", '{"disk": 2}')
    shown = json.loads(shell("status", "--json").stdout)
    assert [node["ip"] for node in shown["nodes"]] == ["127.0.0.1", "127.0.0.2"]
    assert shown["nodes"][1]["labels"]["zone"] == "b"
    assert shown["resources"]["CPU"] == {"total": 2.0, "used": 0.0}
    assert shown["resources"]["disk"]["total"] == 2.0
    page = shell("status").stdout
    assert "2 nodes" in page
    assert "127.0.0.2" in page
    assert "nothing is pending" in page

    script = f"import rayhpc; rayhpc.init({head.address!r}); print(len(rayhpc.nodes()))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "2\n"

    known = family(head.pid) | family(other.pid)
    done = shell("stop")
    assert done.returncode == 0, done.stderr
    assert left_of(known) == []
    assert names_in(shell.base) == []
    assert names_in(shell.keys) == []


def test_listings_of_an_idle_cluster(shell: Shell, tmp_path: Path) -> None:
    shell.start(*FREE)
    (node,) = json.loads(shell("list", "nodes", "--json").stdout)
    assert (node["state"], node["total"]["CPU"]) == ("ALIVE", 1.0)
    assert "ALIVE" in shell("list", "nodes").stdout
    for kind in ("actors", "tasks", "objects", "placement-groups"):
        assert json.loads(shell("list", kind, "--json").stdout) == []
    assert "0 objects" in shell("memory").stdout
    trace = tmp_path / "trace.json"
    assert shell("timeline", "--output", str(trace)).returncode == 0
    assert json.loads(trace.read_text()) == []


def test_just_one_process_is_detached_and_all_else_hangs_on_it(shell: Shell) -> None:
    record = shell.start(*FREE)
    # The leader of a session of its own; all others are below it.
    assert os.getsid(record.pid) == record.pid
    known = family(record.pid)
    assert len(known) >= 3
    os.kill(record.pid, signal.SIGKILL)
    assert left_of(known) == []
    assert wait_until_gone([Path(record.session_dir)]) == []


def test_a_port_in_use_is_replaced_and_said(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = shell(*HEAD, "--port", str(port))
    assert done.returncode == 0, done.stderr
    (record,) = shell.sessions()
    assert not record.address.endswith(f":{port}")
    assert f"Port {port} is taken" in done.stdout


def test_a_wish_for_a_port_is_granted(shell: Shell) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert shell.start(*HEAD, "--port", str(port)).address == f"127.0.0.1:{port}"


def test_the_key_can_be_piped(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    head = shell.start(*FREE)
    key = (shell.keys / head.cluster_id).read_text()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shell.home / "elsewhere"))
    join = ["start", f"--address={head.address}", *ONE, "--node-ip-address", "127.0.0.2"]
    done = shell(*join)
    assert done.returncode == ExitCode.PERMISSION
    assert "--key-file" in done.stderr
    done = shell(*join, "--key-file", "-", input=key)
    assert done.returncode == 0, done.stderr
    assert len(shell.sessions()) == 2


def test_a_key_file_of_the_users_own(shell: Shell) -> None:
    own = shell.home / "key"
    head = shell.start(*FREE, "--key-file", str(own))
    assert own.stat().st_mode & 0o777 == 0o600
    assert names_in(shell.keys) == []
    join = ["start", f"--address={head.address}", *ONE, "--node-ip-address", "127.0.0.2"]
    shell.start(*join, "--key-file", str(own))
    done = shell(*FREE, "--key-file", str(own))
    assert done.returncode == ExitCode.PERMISSION
    assert "File exists" in done.stderr


def test_a_key_that_others_can_read_is_refused(shell: Shell) -> None:
    own = shell.home / "key"
    head = shell.start(*FREE, "--key-file", str(own))
    own.chmod(0o644)
    done = shell("start", f"--address={head.address}", *ONE, "--key-file", str(own))
    assert done.returncode == ExitCode.PERMISSION
    assert str(own) in done.stderr


def test_the_key_of_another_cluster_gets_nothing(shell: Shell) -> None:
    foreign = shell.home / "foreign"
    shell.start(*FREE, "--key-file", str(foreign))
    head = shell.start(*FREE)
    join = ["start", f"--address={head.address}", *ONE, "--node-ip-address", "127.0.0.2"]
    # Nor does it join its own cluster, which lives, when told to join this one.
    done = shell(*join, "--key-file", str(foreign))
    assert done.returncode in (ExitCode.HEAD_LOST, ExitCode.REFUSED)
    assert head.address in done.stderr
    assert "key" in done.stderr
    assert (
        len(json.loads(shell("status", "--address", head.address, "--json").stdout)["nodes"]) == 1
    )


def _until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_head_that_dies_too_often_is_resumed_by_hand(shell: Shell) -> None:
    head = shell.start(*FREE)
    done = shell("start", "--head", "--resume")
    assert done.returncode != 0
    assert "is running (process" in done.stderr
    for _ in range(MOST + 1):
        _until(lambda: bool(heads_of(head.pid)))
        (pid,) = heads_of(head.pid)
        os.kill(pid, signal.SIGKILL)
        _until(lambda pid=pid: pid not in heads_of(head.pid))
    done = shell("start", "--head", "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"The head of the cluster at {head.address} is back." in done.stdout
    assert len(json.loads(shell("status", "--json").stdout)["nodes"]) == 1
    known = family(head.pid)
    assert shell("stop").returncode == 0
    assert left_of(known) == []
    assert names_in(shell.keys) == []


def test_there_is_nothing_to_resume(shell: Shell) -> None:
    done = shell("start", "--head", "--resume")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "no cluster of yours runs on this machine" in done.stderr
    assert shell("start", "--resume").returncode == ExitCode.CONFIGURATION


def test_nobody_listens_there(shell: Shell) -> None:
    key = shell.home / "key"
    head = shell.start(*FREE, "--key-file", str(key))
    shell("stop")
    done = shell("start", f"--address={head.address}", *ONE, "--key-file", str(key))
    assert done.returncode == ExitCode.HEAD_LOST
    assert head.address in done.stderr
    assert names_in(shell.base) == []


def test_stop_ends_only_what_it_is_told(shell: Shell) -> None:
    first, second = shell.start(*FREE), shell.start(*FREE)
    # Without an address the newest is meant, as in Ray.
    done = shell("status")
    assert done.returncode == 0, done.stderr
    assert second.address in done.stdout
    assert first.address not in done.stdout
    done = shell("stop", "--session", Path(first.session_dir).name)
    assert done.returncode == 0, done.stderr
    assert shell.sessions() == [second]
    third = shell.start(*FREE)
    shell("stop", "--address", second.address)
    assert shell.sessions() == [third]


def test_stop_leaves_processes_alone_that_only_have_the_pid(shell: Shell) -> None:
    """A record whose pid now belongs to somebody else."""
    base = scratch.session_base({scratch.VARIABLE: str(shell.home)})
    path, lock = sessions.make_directory(base, sessions.new_name("a" * 32))
    with subprocess.Popen(["sleep", "60"]) as innocent:
        try:
            record = sessions.record_of_this_process(
                path,
                cluster_id="a" * 32,
                endpoints=["127.0.0.1:1"],
                node_ip="127.0.0.1",
                is_head=True,
                kind="start",
            )
            sessions.write_record(record)
            document = json.loads((path / sessions.RECORD).read_text())
            document.update(pid=innocent.pid, started=1)
            (path / sessions.RECORD).write_text(json.dumps(document))
            os.close(lock)
            done = shell("stop")
            assert done.returncode == 0
            assert innocent.poll() is None
            assert not path.exists()
        finally:
            innocent.kill()


def test_block_stays_until_it_is_interrupted(shell: Shell) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "rayhpc.cli.main", *FREE, "--block"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "To stop it: Ctrl-C" not in (line := process.stdout.readline()):
            assert line
        known = family(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert left_of(known) == []
    assert names_in(shell.base) == []


def test_a_killed_block_takes_its_node_along(shell: Shell) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "rayhpc.cli.main", *FREE, "--block"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "To stop it: Ctrl-C" not in (line := process.stdout.readline()):
            assert line
        known = family(process.pid)
        process.kill()
    assert left_of(known) == []
    assert names_in(shell.base) == []


def test_the_next_command_removes_what_a_power_loss_left(shell: Shell) -> None:
    record = shell.start(*FREE)
    assert left_of(lose_power(family(record.pid))) == []
    assert names_in(shell.base) == [Path(record.session_dir).name]
    assert shell("stop").returncode == 0
    assert names_in(shell.base) == []


@pytest.mark.parametrize("victims", ["raylet", "all"])
def test_no_key_outlives_its_head(shell: Shell, victims: str) -> None:
    record = shell.start(*FREE)
    known = family(record.pid)
    if victims == "raylet":
        os.kill(record.pid, signal.SIGKILL)
        assert left_of(known) == []
    else:
        assert left_of(lose_power(known)) == []
        shell("stop")
    assert names_in(shell.keys) == []


def test_stop_lets_a_run_end_its_program(shell: Shell) -> None:
    script = "import time; print('here', flush=True); time.sleep(60)"
    words = ["run", *ONE, "--node-ip-address", "127.0.0.1", "--", sys.executable, "-c", script]
    with subprocess.Popen(
        [sys.executable, "-m", "rayhpc.cli.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        known = family(process.pid)
        assert shell("stop").returncode == 0
        _, err = process.communicate(timeout=30)
        assert process.returncode == 128 + signal.SIGTERM
        assert "ended by SIGTERM" in err
    assert left_of(known) == []
    assert names_in(shell.base) == []


def test_a_driver_elsewhere_gets_the_remedy(shell: Shell) -> None:
    script = "import rayhpc; rayhpc.init('192.0.2.77:6379')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert "rayhpc start --address=192.0.2.77:6379" in done.stderr
