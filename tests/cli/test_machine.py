"""What runs on a cluster's machine: `ray start`, completed with what the file says, and `tail`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from rayhpc.cli.machine import Told, completed
from rayhpc.launch import sessions
from rayhpc.machine import processes, scratch

TOLD = Told("c", "w", head_ip="10.0.0.1", address="10.0.0.1:41234")


def test_a_worker_finds_the_head_on_the_port_that_it_really_has() -> None:
    for words in (["--address=10.0.0.1:6379"], ["--address", "10.0.0.1:6379"]):
        joined = " ".join(completed(TOLD, ["start", *words])).replace("=", " ")
        assert joined == "start --address 10.0.0.1:41234 --key-file -"


def test_another_address_is_the_users_own() -> None:
    words = ["start", "--address=elsewhere:6379", "--key-file", "f"]
    assert completed(TOLD, words) == words


def test_the_head_keeps_its_words() -> None:
    words = ["start", "--head", "--port=6379"]
    assert completed(TOLD, words) == words


def test_resources_and_labels_of_the_file_are_added_unless_the_command_has_them() -> None:
    told = Told("c", "w", resources={"CPU": 2, "GPU": 1, "disk": 3}, labels={"rack": "r1"})
    assert completed(told, ["start", "--head", "--num-cpus=7"]) == [
        *("start", "--head", "--num-cpus=7", "--num-gpus=1"),
        *('--resources={"disk": 3}', '--labels={"rack": "r1"}'),
    ]


def test_other_commands_stay_as_they_are() -> None:
    assert completed(TOLD, ["status"]) == ["status"]


def test_logs_are_followed_until_the_session_ends(home: Path) -> None:
    said = home / "head.log"
    said.write_text("the head said this\n")
    with subprocess.Popen(["sleep", "60"]) as node:
        name = sessions.new_name("0123456789abcdef")
        path, _ = sessions.make_directory(scratch.session_base({scratch.VARIABLE: str(home)}), name)
        ours = sessions.record_of_this_process(
            path, cluster_id="c", endpoints=[], node_ip="127.0.0.1", is_head=True, kind="run"
        )
        started = processes.start_time(node.pid) or 0
        sessions.write_record(msgspec.structs.replace(ours, pid=node.pid, started=started))
        (path / "logs" / "raylet.log").write_text("old\na raylet said that\n")
        words = ["_machine", "follow", "1", str(path), str(said)]
        with subprocess.Popen(
            [sys.executable, "-m", "rayhpc.cli.main", *words],
            stdout=subprocess.PIPE,
            text=True,
        ) as follower:
            assert follower.stdout is not None
            shown = ""
            while "a raylet said that" not in shown:
                line = follower.stdout.readline()
                assert line, shown
                shown += line
            assert "the head said this" in shown
            assert "old" not in shown
            node.terminate()
            node.wait()  # as whoever has started it does: until then its pid is taken
            assert follower.wait(timeout=30) == 0
