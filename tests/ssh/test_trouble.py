"""What goes wrong on hosts: each says what happened, and the others are not concerned."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.ssh.desk import Desk


def test_a_failed_command_is_shown_with_its_last_lines_and_noise_is_not(desk: Desk) -> None:
    home = desk.lab.home("h2")
    with (home / ".bash_profile").open("a") as file:
        file.write("echo greetings; echo more >&2\n")
    (home / ".bashrc").write_text("echo from bashrc\n")
    (desk.lab.folder / "h2/banner").write_text("You are being watched.\n")
    command = "seq 30; [ $(hostname) != h3 ] || { echo No space left on device; exit 9; }"
    desk.write(f"worker_setup_commands: ['{command}']\n")
    done = desk.up()
    assert done.returncode == 72
    assert f"10.88.0.3: setup_commands failed (exit code 9): {command}" in done.stderr
    assert "| No space left on device" in done.stderr
    assert "2 of 3 nodes run, 1 not" in done.stdout
    assert not any(x in done.stderr for x in ("greetings", "bashrc", "watched")), done.stderr
    machines = json.loads(desk.rayhpc("status", "lab", "--json").stdout)["machines"]
    assert [each["state"] for each in machines] == ["running", "running", "not running"]
    assert (machines[2]["phase"], machines[2]["exit_code"]) == ("setup_commands", 9)
    assert machines[2]["last_lines"][-1] == "No space left on device"
    assert len(machines[2]["last_lines"]) == 20
    # Half of a cluster is taken down as a whole one is.
    assert desk.rayhpc("down", "-y", "lab").returncode == 0
    assert desk.processes() == []


def test_a_full_disk_is_said_in_the_hosts_own_words(desk: Desk) -> None:
    small = desk.lab.home("h2") / "small"
    desk.lab.inside("h2", f"mkdir -p {small} && mount -t tmpfs -o size=64k tmpfs {small}")
    (desk.folder / "big").write_bytes(b"x" * 1_000_000)
    desk.write(f"file_mounts: {{'~/small/big': '{desk.folder}/big'}}\n", workers="10.88.0.2")
    done = desk.up()
    desk.lab.inside("h2", f"umount {small}")
    assert done.returncode == 72
    assert "10.88.0.2: file_mounts failed" in done.stderr
    assert " 100% " in done.stderr, done.stderr


def test_a_changed_host_key_is_refused_and_the_remedy_named(desk: Desk) -> None:
    assert desk.rayhpc("up", "--dry-run", str(desk.file)).returncode == 0
    known_hosts = desk.state / "rayhpc/clusters/lab/known_hosts"
    assert len(known_hosts.read_text().splitlines()) == 3
    desk.lab.new_host_key("h3")
    done = desk.rayhpc("up", "--dry-run", str(desk.file))
    assert done.returncode == 72
    (line,) = [x for x in done.stdout.splitlines() if "10.88.0.3" in x.split()]
    assert "cannot tell" in line
    assert "its host key is not the one it had before" in line
    assert f"ssh-keygen -R '10.88.0.3' -f {known_hosts}" in line
    assert done.stdout.count("no node has been started there") == 2


def test_hosts_that_do_not_let_us_in_say_why(desk: Desk) -> None:
    port = "{host: 10.88.0.2, port: 9}"
    user = "{host: 10.88.0.3, user: nobody}"
    provider = f"{{type: ssh, hosts: [10.88.0.1, {port}, {user}, no-such-host.invalid]}}"
    text = desk.file.read_text().splitlines()
    desk.file.write_text("\n".join([text[0], f"provider: {provider}", text[2]]))
    done = desk.rayhpc("up", "--dry-run", str(desk.file))
    assert done.returncode == 72
    rows = {x.split()[0]: x for x in done.stdout.splitlines()[1:]}
    assert "no node has been started there" in rows["10.88.0.1"]
    assert "connection refused; nothing listens there" in rows["10.88.0.2"]
    assert "it does not let us in as nobody with the key" in rows["10.88.0.3"]
    assert "its name is unknown" in rows["no-such-host.invalid"]


def test_one_host_without_power_and_a_slow_one_concern_no_other(desk: Desk) -> None:
    with (desk.lab.home("h1") / ".bash_profile").open("a") as file:
        file.write("sleep 2\n")
    desk.lab.power_off("h3")
    desk.lab.in_hub("ip neigh flush dev br0")  # else it is waited for as one that is only silent
    try:
        done = desk.rayhpc("up", "--dry-run", str(desk.file))
    finally:
        desk.welcome()
        desk.lab.boot("h3")
        desk.lab.wait_for("h3")
    assert done.returncode == 72
    rows = {x.split()[0]: x for x in done.stdout.splitlines()[1:]}
    assert "no node has been started there" in rows["10.88.0.1"]
    assert "no node has been started there" in rows["10.88.0.2"]
    assert "cannot tell" in rows["10.88.0.3"]
    assert "no route to host; there is no way to it: is it up" in rows["10.88.0.3"]


CUT = """
import sys
from pathlib import Path
from rayhpc.clusters.remote import login
from rayhpc.clusters.remote.connection import Connection
from rayhpc.clusters.remote.trouble import RemoteError

login.ALIVE_S, login.ALIVE_COUNT = 1, 2
key, folder = sys.argv[1:]
to = login.Login("10.88.0.2", "hpc", None, key, None, Path(folder, "known_hosts"))
connection = Connection(to, Path(folder), "s")
connection.open(20)

def said(data):
    sys.stdout.write(data.decode())
    sys.stdout.flush()

try:
    connection.run("echo began; echo; sleep 1000", within_s=60, sink=said)
except RemoteError as error:
    print(error)
"""


def test_a_cut_cable_is_noticed_while_a_command_runs(desk: Desk) -> None:
    command = [sys.executable, "-c", CUT, str(desk.lab.key), str(desk.folder)]
    with subprocess.Popen(desk.lab.command(command), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        desk.lab.cut("h2")
        try:
            assert "10.88.0.2: the connection broke" in process.stdout.read()
        finally:
            desk.lab.power_off("h2")  # with what still runs on it


def test_workers_end_by_themselves_when_their_head_is_lost(desk: Desk) -> None:
    desk.write(workers="10.88.0.2")
    assert desk.up().returncode == 0
    assert desk.lab.processes("h2")
    desk.lab.cut("h1")
    try:
        deadline = time.monotonic() + 60
        while desk.lab.processes("h2"):
            assert time.monotonic() < deadline
            time.sleep(0.2)  # nobody tells us: what ends there is all that there was
        done = desk.rayhpc("status", "lab")
    finally:
        desk.lab.join("h1")
    assert done.returncode == 72
    head, worker = done.stdout.splitlines()[1:3]
    assert "10.88.0.1  head    unreachable" in head
    assert "10.88.0.2  worker  not running  its node has ended" in worker


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_second_up_at_the_same_time_is_refused(desk: Desk, elsewhere: bool) -> None:
    gate = desk.lab.home("h1") / "gate"
    desk.lab.inside("h1", f"rm -f {gate}; mkfifo {gate}")
    desk.write("head_setup_commands: ['cat ~/gate; exit 5']\n", workers="")
    first = desk.begin("up", "-y", str(desk.file))
    assert first.stderr is not None
    with first:
        while "setup_commands 1/1" not in first.stderr.readline():
            assert first.poll() is None
        # From another machine there is no lock but the one on the head's.
        state = desk.folder / "other" if elsewhere else None
        second = desk.rayhpc("up", "-y", str(desk.file), state=state)
        desk.lab.inside("h1", f"echo go >{gate}")
        assert second.returncode == 73
        assert "another `rayhpc up` or `down` of cluster lab is at work" in second.stderr
        assert "exit code 5" in first.stderr.read()
    assert first.returncode == 72
