"""What `rayhpc start` takes: host names, `auto`, JSON labels; and programs that then call init."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode
from rayhpc.wire import join_tokens, keys
from rayhpc.wire.join_tokens import TokenServer
from tests.cli.shell import FREE, ONE, Shell

_JOIN = """
import rayhpc
context = rayhpc.init({call})
print(context.address_info["address"], rayhpc.cluster_resources()["CPU"], len(rayhpc.nodes()))
"""


def _run(call: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _JOIN.format(call=call)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def _label(shell: Shell) -> dict[str, str]:
    (node,) = json.loads(shell("status", "--json").stdout)["nodes"]
    return {k: v for k, v in node["labels"].items() if not k.startswith("rayhpc.io/")}


@pytest.mark.parametrize("machines", [1, 2])
def test_init_joins_what_was_started_by_hand_and_says_so(shell: Shell, machines: int) -> None:
    head = shell.start("start", "--head", "--num-cpus", "3", "--port", "0")
    if machines == 2:
        shell.start("start", "--address", "auto", *ONE, "--node-ip-address", "127.0.0.2")
    cpus = {1: "3.0", 2: "4.0"}[machines]
    joined = _run("")
    assert joined.stdout.split() == [head.address, cpus, str(machines)]
    assert head.address in joined.stderr
    assert 'init(address="local")' in joined.stderr
    sized = _run("num_cpus=1")
    assert sized.stdout.split()[0] == head.address
    assert "num_cpus of init() had no effect" in sized.stderr
    alone = _run("'local', num_cpus=1")
    assert alone.stdout.split()[0] != head.address
    assert alone.stdout.split()[1:] == ["1.0", "1"]


def test_init_joins_the_newest_of_several(shell: Shell) -> None:
    shell.start(*FREE)
    newest = shell.start(*FREE)
    assert _run("").stdout.split()[0] == newest.address
    shell("stop")
    assert _run("num_cpus=1").stdout.split()[0] != newest.address


def test_auto_is_the_cluster_by_hand_beside_one_of_a_running_program(shell: Shell) -> None:
    head = shell.start(*FREE)
    program = "import sys; print('up', flush=True); sys.stdin.read()"
    words = ["run", *ONE, "--node-ip-address", "127.0.0.1", "--", sys.executable, "-c", program]
    with subprocess.Popen(
        [sys.executable, "-m", "rayhpc.cli.main", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        assert _run("'auto'").stdout.split()[0] == head.address
        assert json.loads(shell("status", "--json").stdout)["address"] == head.address
        running.communicate()


def test_a_node_is_known_by_a_host_name(shell: Shell) -> None:
    words = ["start", "--head", *ONE, "--port", "0"]
    assert shell.start(*words, "--node-ip-address=localhost").address.startswith("127.0.0.1:")
    shell("stop")
    own = shell.start(*words, f"--node-ip-address={socket.gethostname()}")
    assert _run("").stdout.split()[0] == own.address
    done = shell(*words, "--node-ip-address=no-such-host.invalid")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "no interface of this node matches 'no-such-host.invalid'" in done.stderr


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", socket.gethostname()])
def test_a_head_is_named_by_its_host(shell: Shell, host: str) -> None:
    head = shell.start("start", "--head", *ONE, "--port", "0")
    port = head.address.rpartition(":")[2]
    shell.start("start", f"--address={host}:{port}", *ONE, "--node-ip-address", "127.0.0.2")
    state = json.loads(shell("status", "--address", f"{host}:{port}", "--json").stdout)
    assert len(state["nodes"]) == 2


def test_auto_without_a_cluster(shell: Shell) -> None:
    done = shell("start", "--address", "auto")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "`rayhpc start --head`" in done.stderr


@pytest.mark.parametrize("labels", ['{"gpu_type":"A100","region":"us"}', "gpu_type=A100,region=us"])
def test_labels_as_pairs_and_as_json(shell: Shell, labels: str) -> None:
    shell.start(*FREE, "--labels", labels)
    assert _label(shell) == {"gpu_type": "A100", "region": "us"}


@pytest.mark.parametrize("labels", ['{"gpus":4}', "{zone", '["a"]', "[" * 100_000, "zone"])
def test_labels_that_are_none(shell: Shell, labels: str) -> None:
    done = shell(*FREE, f"--labels={labels}")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "zone=a" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 1000


@pytest.mark.parametrize("number", ["1.0", "1."])
def test_a_whole_number_as_scripts_compute_it(shell: Shell, number: str) -> None:
    shell.start("start", "--head", "--port", "0", f"--num-cpus={number}")
    state = json.loads(shell("status", "--json").stdout)
    assert state["resources"]["CPU"]["total"] == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--num-cpus", "1.5"),
        ("--num-cpus", "1e20"),
        ("--num-cpus", "9" * 18),
        ("--num-cpus", "9" * 10_000),
        ("--num-gpus", "-1"),
        ("--memory", "9" * 400),
        ("--memory", "9999999T"),
        ("--object-store-memory", "nan"),
        ("--port-range", "9" * 5000 + "-1"),
        ("--port-range", "²-³"),
        ("--resources", '{"disk": 1e400}'),
        ("--resources", '{"disk": 1e18}'),
        ("--resources", "9" * 5000),
    ],
)
def test_an_impossible_number_is_named(shell: Shell, option: str, value: str) -> None:
    done = shell("start", "--head", f"{option}={value}")
    assert done.returncode == ExitCode.CONFIGURATION, done.stderr
    assert option in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 1000


def test_a_one_time_token_takes_the_place_of_the_key(shell: Shell, tmp_path: Path) -> None:
    head = shell.start(*FREE)
    key = keys.load(str(next(shell.keys.iterdir())))
    server = TokenServer(key, ["127.0.0.1"], lambda machine: ["127.0.0.1"])
    try:
        file = tmp_path / "token"
        file.write_bytes(join_tokens.encode(server.issue("worker-1")))
        words = ["start", "--address", head.address, "--join-token", str(file), *ONE]
        shell.start(*words, "--node-ip-address", "127.0.0.2")
        refused = shell(*words, "--node-ip-address", "127.0.0.3")
    finally:
        server.close()
    assert refused.returncode == ExitCode.PERMISSION
    assert "this token has been used" in refused.stderr
    assert len(json.loads(shell("status", "--json").stdout)["nodes"]) == 2
