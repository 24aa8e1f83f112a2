"""Promises about the way from a launcher to a ready cluster."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rayhpc.batch.tail import Tail
from rayhpc.exit_codes import ExitCode
from rayhpc.launch.rendezvous import Record, Rendezvous
from rayhpc.machine import interfaces, scratch
from rayhpc.machine.mounts import Mount
from rayhpc.wire.keys import ClusterKey, KeyPair
from tests.promises.test_neighbours import sources
from tests.slurm.fake.cluster import ROOT
from tests.slurm.lab_cluster import LabCluster
from tests.slurm.user import RAYHPC, User

# Each is a look at something that has no event, in a loop with a deadline (the end of a child that
# somebody else may reap, nodes that join, MPI's progress, a named actor that leaves, workers that
# end after their program, what YARN knows, which it tells only who asks), or no waiting for others
# at all (a moment of quiet).
LOOKS = {
    "launch/cluster.py:wait_for_nodes",
    "launch/last_look.py:take_down",
    "launch/mpi_channel.py:publish",
    "launch/start_stop.py:_wait_for_end",
    "machine/processes.py:reap_child",
    "batch/follow.py:",
    "batch/yarn/jobs.py:_kill",
    "batch/yarn/unmanaged.py:_wait_for_token",
    "batch/yarn/watching.py:_fetch_collected",
    "batch/yarn/watching.py:pause",
    # The pause between two tries of a server, unless the caller gives one that can be woken.
    "hadoop/failover.py:__init__",
    "hadoop/master.py:__init__",
    "runtime/worker/generators.py:run_async",
    "runtime/worker/output.py:_run",
    "util/collective/membership.py:join",
    "wire/handover.py:_rest",
    # What a cloud, a batch system, an API server or a machine of theirs knows, which tell only who
    # asks; a log on another node that is followed.
    "clusters/launcher.py:open",
    "clusters/renting.py:_until",
    "clusters/renting.py:ask",
    "clusters/renting.py:end_all",
    "clusters/renting.py:remove_the_rest",
    "clusters/renting.py:wait_until_there",
    "launch/batch_cluster/cluster.py:_until",
    "launch/batch_cluster/cluster.py:_wait",
    "launch/kubernetes_cluster.py:_wait",
    "launch/kubernetes_cluster.py:end",
    "providers/azure/api.py:__init__",
    "providers/gcp/provider.py:_outcome",
    "util/state/logs.py:_pieces",
}
# Here sleeping is the work that a task is given, as long as it likes.
WORKLOADS = {
    "examples/addresses.py:f",
    "examples/checkpoint.py:square",
    "util/microbenchmark/remote_code.py:nap",
}


def test_no_sleeps() -> None:
    """No path of the package waits for something by waiting long enough."""
    found = set()
    for path, tree in sources():
        for function, node in _sleeps(tree):
            name = f"{path.relative_to(ROOT / 'rayhpc')}:{function}"
            if name in WORKLOADS:
                continue
            found.add(name)
            if isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant):
                assert node.args[0].value <= 0.01, f"{path}:{node.lineno}"
    assert found - LOOKS == set()


def test_no_sleeps_in_scripts() -> None:
    """Nor does any script or template that a job runs."""
    scripts = [*(ROOT / "templates").rglob("*.j2"), *(ROOT / "slurm").glob("*.sh")]
    assert len(scripts) > 5
    assert [path for path in scripts if re.search(r"\bsleep\b", path.read_text())] == []


def test_no_sleeps_measured(short_tmp: Path) -> None:
    """Ranks start side by side: three take hardly longer than one, and the ready line tells."""
    environ = {**os.environ, "RAYHPC_TMPDIR": str(short_tmp)}

    def seconds(size: int) -> float:
        started = []
        for rank in range(size):
            place = ["--rank", str(rank), "--size", str(size), "--num-cpus", "1"]
            place += ["--node-ip-address", f"127.0.0.{rank + 1}"]
            meet = ["--rendezvous", str(short_tmp / f"meet{size}")]
            words = [*RAYHPC, "run", *place, *meet, "--", "true"]
            process = subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True)
            started.append(process)
        said = [process.communicate(timeout=60)[1] for process in started]
        assert [process.returncode for process in started] == [0] * size, said
        ready = re.search(rf"ready, {size} nodes? at \S+ \((\d+\.\d) s\)", said[0])
        assert ready, said[0]
        return float(ready[1])

    # On a busy machine they take turns; recipes that sleep need 20 s for three nodes.
    assert seconds(3) <= 3 * max(0.5, seconds(1)) + 2.0


def test_unix_socket_length(short_tmp: Path) -> None:
    """The longest name that can be is used; one byte more is refused, with the variable to set."""
    room = scratch._BASE_BYTES - len(f"/rayhpc-{os.geteuid()}")
    longest = short_tmp / ("x" * (room - len(str(short_tmp)) - 1))
    longest.mkdir()
    done = local_run({"RAYHPC_TMPDIR": str(longest)}, sys.executable, "-c", WORK)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    beyond = longest.with_name(longest.name + "x")
    beyond.mkdir()
    done = local_run({"RAYHPC_TMPDIR": str(beyond)}, "true")
    assert done.returncode == ExitCode.PERMISSION
    assert "its path is 1 bytes too long for sockets beneath it" in done.stderr
    assert "set RAYHPC_TMPDIR to a directory on this node's own disk" in done.stderr
    assert f"at most {room} bytes" in done.stderr


def test_unix_socket_length_has_fallbacks(tmp_path: Path) -> None:
    """A job's own TMPDIR that is too long is passed over for the next candidate."""
    long = tmp_path / ("x" * 100)
    long.mkdir(mode=0o700)
    base = scratch.session_base({"TMPDIR": str(long)}, create=False)
    assert base == Path("/tmp", f"rayhpc-{os.geteuid()}")


WORK = "import rayhpc; rayhpc.init(); print(rayhpc.get(rayhpc.remote(lambda: 3).remote()))"


def test_interfaces(short_tmp: Path) -> None:
    """By name or subnet; a wrong one is refused with what there is."""
    environ = {"RAYHPC_TMPDIR": str(short_tmp)}
    for chosen in ("lo", "127.0.0.0/8", "127.0.0.1"):
        done = local_run(environ, "true", words=["--interface", chosen])
        assert "ready, 1 node at 127.0.0.1:" in done.stderr
    done = local_run(environ, "true", words=["--interface", "ib7"])
    assert done.returncode == ExitCode.CONFIGURATION
    names = {each.name for each in interfaces.interfaces()}
    assert all(name in done.stderr for name in ("ib7", "--interface", *names))


ACROSS = """
import numpy as np, rayhpc
rayhpc.init("auto")
@rayhpc.remote(scheduling_strategy="SPREAD")
def make():
    return rayhpc.util.get_node_ip_address(), np.ones(1 << 20)
made = rayhpc.get([make.remote() for _ in range(6)])
print(len({ip for ip, _ in made}), int(sum(array.sum() for _, array in made)))
"""


def test_interfaces_that_all_nodes_share(lab: LabCluster, user: User) -> None:
    """An address that every node has (docker0) leads nobody astray; a subnet can be named."""
    user.write("across.py", ACROSS)
    for name in lab.names:
        for words in ("link add docker0 type bridge", "addr add 172.17.0.1/16 dev docker0"):
            lab.verb("node", name, "ip", *words.split())
        lab.verb("node", name, "ip", "link", "set", "docker0", "up")
    try:
        for more in ([], ["--interface", "10.77.0.0/16"], ["--interface", "eth0"]):
            step = ["srun", "--mpi=none", "-N3", "-n3", "rayhpc", "run", *more]
            done = user.run(*step, "--", "python", "across.py")
            assert (done.returncode, done.stdout) == (0, f"3 {6 << 20}\n"), done.stderr
            assert "ready, 3 nodes at 10.77." in done.stderr
    finally:
        for name in lab.names:
            lab.verb("node", name, "ip", "link", "del", "docker0")


KEY = ClusterKey("a" * 32, KeyPair(b"p" * 40, b"s" * 40), b"h" * 40, [("10.0.0.1", 5)] * 50)


def test_nfs(tmp_path: Path) -> None:
    """A record is there as a whole or not at all, whoever looks while it is being replaced."""
    writer, reader = (Rendezvous([tmp_path / "meet"], "1.0.0") for _ in range(2))
    writer.prepare()
    over = threading.Event()

    def write() -> None:
        for number in range(200):
            writer.publish(Record(key=KEY, code=number))
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = []
    while not over.is_set():
        record = reader.fetch()
        if record is not None:
            assert record.key == KEY
            seen.append(record.code)
    thread.join()
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    writer.leave()
    assert list((tmp_path / "meet").iterdir()) == []


def test_nfs_is_asked_by_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's output that is not there yet is looked for in its directory, each time anew."""
    listed = []
    original = os.listdir

    def listdir(path: Path) -> list[str]:
        listed.append(path)
        return original(path)

    monkeypatch.setattr(os, "listdir", listdir)
    tail = Tail(tmp_path / "out")
    assert tail.read() == b""
    (tmp_path / "out").write_text("x")
    assert tail.read() == b"x"
    tail.close()
    assert listed == [tmp_path] * 2


def test_nfs_is_asked_for_no_existence() -> None:
    """Whoever waits for a name lists or opens; a negative answer is remembered by NFS clients."""
    found = []
    for path, tree in sources("launch", "batch"):
        for loop in ast.walk(tree):
            if isinstance(loop, ast.While):
                found += [
                    f"{path.name}:{node.lineno}"
                    for node in ast.walk(loop)
                    if isinstance(node, ast.Attribute) and node.attr in ("exists", "is_file")
                ]
    assert found == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk is mounted, which needs root")
def test_nfs_that_is_full(short_tmp: Path) -> None:
    """Rank 0 can tell the others only by a name without content; nobody waits all the same."""
    full = short_tmp / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "full", str(full)], check=True)
    try:
        (full / "x").write_bytes(bytes(4096))
        started = []
        for rank in range(2):
            place = ["--rank", str(rank), "--size", "2", "--rendezvous", str(full / "meet")]
            words = [*place, "--start-timeout", "50", "--node-ip-address", f"127.0.0.{rank + 1}"]
            process = subprocess.Popen(
                [*RAYHPC, "run", *words, "--num-cpus", "1", "--", "true"],
                env={**os.environ, "RAYHPC_TMPDIR": str(short_tmp)},
                stderr=subprocess.PIPE,
                text=True,
            )
            started.append(process)
        said = [process.communicate(timeout=30)[1] for process in started]
    finally:
        subprocess.run(["umount", str(full)], check=True)
    assert [process.returncode for process in started] == [ExitCode.RENDEZVOUS] * 2, said
    assert f"cannot be written to {full}/meet: No space left on device" in said[0]
    assert all("make room there, or name another directory" in text for text in said)


@pytest.mark.parametrize("fstype", ["nfs4", "lustre", "gpfs", "beegfs"])
def test_nfs_holds_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fstype: str) -> None:
    """Sockets and objects stay on the node's own disk, even if told otherwise."""
    short = Path("/tmp")
    mounts = [Mount(point=str(short), fstype=fstype, root="/", options=frozenset())]
    monkeypatch.setattr(scratch, "read_mounts", lambda: mounts)
    with pytest.raises(PermissionError, match=f"it is on {fstype}, where sockets do not work"):
        scratch.session_base({"RAYHPC_TMPDIR": str(short)})
    assert all(each.path != "/tmp" for each in scratch.spill_directories({}))


def local_run(
    environ: dict[str, str], *program: str, words: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A cluster of this machine and its program."""
    return subprocess.run(
        [*RAYHPC, "run", "--num-cpus", "1", *(words or []), "--", *program],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _sleeps(tree: ast.Module) -> list[tuple[str, ast.AST]]:
    """Every mention of `sleep` by the name of the innermost function around it."""
    found: list[tuple[str, ast.AST]] = []

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        called = node.func if isinstance(node, ast.Call) else None
        names = (getattr(called, "attr", ""), getattr(called, "id", ""))
        if "sleep" in names or (isinstance(node, ast.Attribute) and node.attr == "sleep"):
            found.append((function, node))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(tree, "")
    return found
