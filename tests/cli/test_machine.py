"""The words of `ray start` on a cluster's machine, completed with what its file says elsewhere."""

from __future__ import annotations

from rayhpc.cli.machine import Told, completed

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
