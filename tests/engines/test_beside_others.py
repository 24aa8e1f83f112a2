"""What a program of the real Ray gets of its node, and that others neither use nor miss it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from rayhpc.machine import processes
from tests.engines.conftest import Ranks, descendant
from tests.launch.processes import family, left_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LIMIT_S = 200.0
# Ray's own: of its head, its client, its dashboard, its object manager.
FIXED_PORTS = {6379, 10001, 8265, 8076}
GPUS = ["3", "GPU-5e1f0001"]

LOOK = """
import json, os, ray, time
ray.init(logging_level="ERROR")
@ray.remote(num_gpus=1)
def gpu():
    time.sleep(1)
    return os.environ["CUDA_VISIBLE_DEVICES"]
found = sorted(ray.get([gpu.remote() for _ in range(2)]))
print(json.dumps([ray.nodes()[0]["Resources"], found, os.environ["RAY_ADDRESS"]]), flush=True)
open(os.environ["MEET"]).read()
"""
JOIN = """
import ray, sys
ray.init(address=sys.argv[1], logging_level="ERROR")
print("in")
"""


def test_a_node_is_what_was_given_and_private(ranks: Ranks, ray_python: Path) -> None:
    meet, home = ranks.folder / "meet.fifo", ranks.folder / "home"
    os.mkfifo(meet)
    home.mkdir()
    other = _another_ray(ray_python, ranks.folder / "o")
    others = family(other.pid)
    daemons = [descendant(other.pid, words) for words in ("raylet/raylet", "gcs/gcs_server")]
    try:
        given = {"CUDA_VISIBLE_DEVICES": ",".join(GPUS), "HOME": str(home), "TMPDIR": str(home)}
        rank = ranks.start(LOOK, MEET=str(meet), **given)
        assert rank.stdout is not None
        line = rank.stdout.readline()
        ranks.note()
        ports = {port for pid in ranks.known for port in _listening(pid)}
        assert line, rank.communicate(timeout=LIMIT_S)
        resources, gpus, address = json.loads(line)
        stranger = subprocess.run(
            [str(ray_python), "-c", JOIN, address],
            env={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "HOME": str(ranks.folder)},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        meet.write_text("over")
        _, said = rank.communicate(timeout=LIMIT_S)

        assert rank.returncode == 0, said
        assert gpus == GPUS
        assert (resources["CPU"], resources["GPU"]) == (2.0, 2.0)
        assert resources["object_store_memory"] == 100 << 20
        assert resources["memory"] == 2 << 30
        assert len(ports) > 3
        assert not ports & FIXED_PORTS
        assert stranger.returncode != 0
        assert "in" not in stranger.stdout.split()
        assert "oken" in stranger.stderr, stranger.stderr
        assert os.listdir(home) == []
        assert ranks.left() == []
        assert other.poll() is None
        assert all(processes.is_same_process(pid, others[pid]) for pid in daemons)
    finally:
        other.terminate()
        other.communicate()
        left_of(others, 20.0)


def _another_ray(python: Path, folder: Path) -> subprocess.Popen[str]:
    """The user's own, started by hand with Ray's command; it is up."""
    start = (str(python.with_name("ray")), "start", "--head", "--block")
    ports = ("--port", "0", "--dashboard-agent-listen-port", "0", "--node-ip-address", "127.0.0.1")
    process = subprocess.Popen(
        [
            *(*start, "--temp-dir", str(folder), "--include-dashboard", "false", *ports),
            *("--num-cpus", "1", "--object-store-memory", "100000000", "--disable-usage-stats"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "Ray runtime started" in line:
            return process
    raise AssertionError("".join(said))


def _listening(pid: int) -> list[int]:
    try:
        found = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return []
    return [each.laddr.port for each in found if each.status == psutil.CONN_LISTEN]
