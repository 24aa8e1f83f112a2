"""Where other users' processes have our uid, as on YARN without LinuxContainerExecutor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.plain_root import be_a_plain_user

_PROGRAM = """
import os, subprocess, sys
import rayhpc as ray

ray.init(num_cpus=2, object_store_memory=32 << 20, log_to_driver=False)

@ray.remote
class Counter:
    def add(self, sent): return os.getpid(), len(sent)

@ray.remote
def size(block): return len(block)

@ray.remote
def make(mib): return bytes(mib << 20)

# Twice what the store holds, and one object larger than it: files that all of them map.
blocks = [ray.put(bytes(8 << 20)) for _ in range(8)] + [make.remote(40)]
assert ray.get([size.remote(block) for block in blocks]) == [8 << 20] * 8 + [40 << 20]
actor = Counter.remote()
worker, _ = ray.get(actor.add.remote(b"x"))
folder = ray.init(ignore_reinit_error=True).address_info["session_dir"]
raylet = int(open(folder + "/session.json").read().split('"pid":')[1].split(",")[0])
done = subprocess.run([sys.executable, "-c", os.environ["STRANGER"], folder, str(raylet),
    str(worker), str(os.getpid())], start_new_session=True, stdout=subprocess.PIPE, text=True)
print(done.stdout, end="", flush=True)
assert ray.get(actor.add.remote(b"still here"))[1] == 10
log = open(folder + "/logs/node.log").read()
print("log:", "it belongs to another container" in log)
"""
# What it sends would do something if anybody unpickled it.
_STRANGER = """
import os, pickle, sys
import zmq
from rayhpc.launch.observer import Observer
from rayhpc.wire import monitor, sockets
from rayhpc.wire.address import routing_id, make_address

folder, *pids = sys.argv[1:]
class Evil:
    def __reduce__(self): return open, (folder + "/unpickled", "w")
try:
    Observer(folder)
    print("attached")
except Exception as error:
    print("not attached:", type(error).__name__)
context = zmq.Context()
for name in sorted(os.listdir(folder + "/p")):
    sock = sockets.make_router(context, routing_id=routing_id(make_address(1, 77)))
    failed = monitor.DOWN | monitor.CLOSED | monitor.NO_HANDSHAKE
    monitored = monitor.Monitor(sock, monitor.UP | failed)
    sockets.connect_ipc(sock, folder + "/p/" + name, b"peer")
    sockets.send_to(sock, b"peer", pickle.dumps(Evil()))
    assert monitored.socket.poll(10_000), name
    kinds = {event.kind for event in monitored.events()}
    print(name, "heard" if monitor.UP in kinds else "not heard")
for pid in pids:
    for name in ("mem", "fd/0"):
        try:
            open(f"/proc/{pid}/{name}", "rb").close()
            print("opened", name, "of", pid)
        except PermissionError:
            pass
print("unpickled:", os.path.exists(folder + "/unpickled"))
context.destroy(linger=0)
"""


def in_a_container(folder: Path, *words: str, **further: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a container of alice's runs it, on a cluster where we are everybody."""
    environ = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "USER": "alice",
        "CONTAINER_ID": "container_1700000000000_0001_01_000001",
        "NM_HOST": "localhost",
        **further,
    }
    return subprocess.run(
        [sys.executable, *words],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        preexec_fn=be_a_plain_user,
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """A home with a short path."""
    with tempfile.TemporaryDirectory(prefix="rs-") as name:
        yield Path(name)


def test_a_stranger_of_the_same_uid_gets_nothing(folder: Path) -> None:
    done = in_a_container(folder, "-c", _PROGRAM, STRANGER=_STRANGER)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "not attached: LaunchError", done.stdout + done.stderr
    dialled = [line for line in said if line.endswith("heard")]
    assert len(dialled) >= 3  # the raylet, the driver, a worker
    assert all(line.endswith("not heard") for line in dialled), said
    assert said[len(dialled) + 1 :] == ["unpickled: False", "log: True"]


def test_doctor_says_what_is_not_protected(folder: Path) -> None:
    done = in_a_container(folder, "-m", "rayhpc.cli.main", "doctor", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = [each for each in json.loads(done.stdout)["warnings"] if "alice" in each]
    assert "as may those of all other users" in found
    assert "Not protected from them: files" in found
