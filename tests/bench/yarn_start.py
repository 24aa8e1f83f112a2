"""From `rayhpc submit` to a program's first line on a real YARN, and what a master costs.

    python -m tests.bench.yarn_start [--hadoop 3.4.3] [--rounds 3] [--containers 1000] [--json]

Needs Java and Maven (see `yarn/lab`); all of YARN and all containers share this machine's
processors.  "ours" is what is left of the time to the first line without what YARN did meanwhile:
from the submission to the first container's process, and from an allocation's order to a started
process; read from the daemons' logs.  The modules are compiled.  The 1,000 containers are those of
the fake YARN of `tests/yarn/fake`, which run nothing; one of them is preempted each second.  Each
time is the median of the rounds; a row that misses its goal says so.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from rayhpc.hadoop.ids import container_name
from rayhpc.hadoop.messages.launch import ContainerLaunchContextProto
from rayhpc.hadoop.messages.records import ContainerIdProto
from tests.bench.compiled import compile_package
from tests.hadoop.rpc_server import RpcServer
from tests.yarn.applications import Submitted, wait_until
from tests.yarn.fake.cluster import FakeYarn
from tests.yarn.fake.node import FakeNode
from tests.yarn.labs import lab_of
from tests.yarn.terminal import Terminal
from yarn.lab.jars import DEFAULT_VERSION
from yarn.lab.lab import Lab
from yarn.lab.processes import of_containers

NODES = 4
PROGRAM = "import time\nprint(time.time(), flush=True)\n"
STILL = "import sys, time\nprint('begun', flush=True)\nsys.stdin.read()\ntime.sleep(600)\n"
_IMPORT = "import rayhpc.batch.yarn.jobs"
_IMPORTS = 7
_STEADY_S = 10
PREEMPTED = -102
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d),(\d{3})")


class Row(msgspec.Struct):
    """One line of the table."""

    what: str
    value: float
    unit: str
    goal: float | None = None

    @property
    def missed(self) -> bool:
        """Whether the number is larger than its goal."""
        return self.goal is not None and self.value > self.goal


# -- the real YARN
def first_line(user: Terminal, lab: Lab) -> tuple[float, float]:
    """Seconds from the command's start to the program's first line, and how many were ours."""
    began = time.time()
    done = user.run("submit", "--nodes", str(NODES), "--", "python", "program.py")
    if done.returncode:
        raise SystemExit(done.stderr)
    job = re.search(r"application_\d+_\d+", done.stderr)
    assert job is not None, done.stderr
    line = float(done.stdout.split()[0])
    return line - began, _ours(lab, job[0], began, line)


def _ours(lab: Lab, job: str, began: float, line: float) -> float:
    """What YARN did not take."""
    number = job.removeprefix("application_")
    manager = lab.layout.log("rm").read_text(errors="replace").splitlines()
    nodes = [
        line
        for name in lab.layout.node_managers
        for line in lab.layout.log(name).read_text(errors="replace").splitlines()
    ]
    submitted = _when(manager, "Storing application with id", job)
    registered = _when(manager, "AM registration", number)
    assigned = _when(manager, "Assigned container", number)
    asked = _when(nodes, "Start request for container", number)
    launched = [_times(nodes, "launchContainer:", f"{number}_01_{n:06}") for n in range(1, 9)]
    master, ranks = launched[0][0], [times[0] for times in launched[1:] if times]
    waited = max(0.0, asked - assigned)
    return submitted - began + registered - master + waited + line - max(ranks)


def _when(lines: list[str], what: str, whom: str) -> float:
    return max(_times(lines, what, whom))


def _times(lines: list[str], what: str, whom: str) -> list[float]:
    """When a log says something of somebody, in seconds since the epoch."""
    found = []
    for line in lines:
        match = _STAMP.match(line) if what in line and whom in line else None
        if match is not None:
            moment = datetime.datetime.fromisoformat(match[1]).astimezone()
            found.append(moment.timestamp() + int(match[2]) / 1000)
    return found


def first_container(user: Terminal, lab: Lab) -> float:
    """Seconds from the command's start to the first container's process, unmanaged."""
    began = time.time()
    words = ["--nodes", "2", "--yarn", "--unmanaged", "--", "python", "program.py"]
    done = user.run("submit", *words)
    if done.returncode:
        raise SystemExit(done.stderr)
    job = re.search(r"application_\d+_\d+", done.stderr)
    assert job is not None, done.stderr
    number = job[0].removeprefix("application_")
    return (
        min(
            when
            for name in lab.layout.node_managers
            for when in _times(
                lab.layout.log(name).read_text(errors="replace").splitlines(),
                "launchContainer:",
                number,
            )
        )
        - began
    )


def masters_memory(user: Terminal, lab: Lab, folder: Path) -> float:
    """MiB that an ApplicationMaster has in memory, at most, with three containers."""
    go = folder / "go"
    text = f"import os, time\nopen({str(go)!r} + '.started', 'w').close()\n"
    text += f"while not os.path.exists({str(go)!r}):\n    time.sleep(0.05)\n"
    user.write("wait.py", text)
    follower = user.start("submit", "--nodes", str(NODES), "--", "python", "wait.py")
    wait_until((folder / "go.started").exists, 60)
    masters = [p for p, command in of_containers(lab.layout.run) if _is_master(command)]
    found = max(_status(each.pid, "VmHWM") for each in masters) / 1024
    go.touch()
    follower.communicate()
    return found


def _is_master(command: str) -> bool:
    return "rayhpc.batch.yarn.master" in command and "bash" not in command


def _status(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0])


# -- the client
def import_seconds() -> float:
    """Seconds that the client's modules take, over a bare interpreter."""

    def once(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    once(_IMPORT)
    with_it, without = ([once(code) for _ in range(_IMPORTS)] for code in (_IMPORT, ""))
    return statistics.median(with_it) - statistics.median(without)


# -- one ApplicationMaster and many containers
class StillNode(FakeNode):
    """A node whose containers run nothing."""

    def __init__(
        self, host: str, folder: Path, on_end: Callable[[ContainerIdProto, int], None]
    ) -> None:
        self.host, self.folder, self._on_end = host, folder, on_end
        self.refuses = False
        self._running: dict[str, ContainerIdProto] = {}
        methods = {"startContainers": self._start}
        self.server = RpcServer(methods, {b"nm": b"nm-password"}.get, host=host)
        self.web = self.server  # type: ignore[assignment]

    def run(self, number: ContainerIdProto, context: ContainerLaunchContextProto) -> None:
        """Only note it."""
        self._running[container_name(number)] = number

    def kill(self, name: str, number: int = 9) -> None:
        """It ends at once."""
        found = self._running.pop(name, None)
        if found is not None:
            self._on_end(found, PREEMPTED)

    def running(self) -> list[str]:
        """The containers that were started."""
        return list(self._running)

    def close(self) -> None:
        """The power goes."""
        self.server.close()


def many_containers(count: int, folder: Path) -> Iterator[Row]:
    """What one ApplicationMaster takes to start them, and then to hold them."""
    yarn = FakeYarn(folder / "yarn", nodes=[FakeNode, *[StillNode] * count])
    try:
        began = time.monotonic()
        job = Submitted(
            yarn.configuration, folder / "job", STILL, count + 1, needed=1, memory_mib=512
        )
        wait_until(lambda: len(yarn.running()) == count + 1, 120.0)
        took = time.monotonic() - began
        (pid,) = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and _belongs(entry, job.name)
        ]
        before, since = _processor_s(pid), time.monotonic()
        yield Row(f"until {count} containers run", took, "s")
        yield Row("  processor time of the master", before, "s")
        for node in yarn.nodes[1 : 1 + _STEADY_S]:  # one container is preempted each second
            time.sleep(1.0)  # what is measured is what the master does meanwhile
            for name in node.running():
                node.kill(name)
        share = (_processor_s(pid) - before) / (time.monotonic() - since)
        yield Row(f"one master of {count} containers", share * 100, "% of a core", 10.0)
        yield Row("  memory of that master", _status(pid, "VmHWM") / 1024, "MiB")
    finally:
        yarn.close()


def _belongs(entry: Path, job: str) -> bool:
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
        environ = (entry / "environ").read_bytes()
    except OSError:
        return False
    name = job.replace("application_", "container_").encode()
    return b"rayhpc.batch.yarn.master" in words and name in environ


def _processor_s(pid: int) -> float:
    """Of all its threads."""
    return (
        sum(
            int((thread / "schedstat").read_text().split()[0])
            for thread in Path(f"/proc/{pid}/task").iterdir()
        )
        / 1e9
    )


# -- the table
def rows(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Every row, as soon as it is measured."""
    if options.containers:
        yield from many_containers(options.containers, folder)
    yield Row("the client's import", import_seconds(), "s", 0.2)
    with lab_of(options.hadoop, nodes=NODES) as lab, lab.on_clients_host():
        user = Terminal(lab.client_environment(), folder / "home")
        user.write("program.py", PROGRAM)
        first_line(user, lab)  # everything is in the page cache, and Java has warmed up
        found = [first_line(user, lab) for _ in range(options.rounds)]
        total, ours = (statistics.median(each) for each in zip(*found, strict=True))
        yield Row(f"submission to first line, {NODES} containers", total, "s", 6.0)
        yield Row("  of which ours", ours, "s", 1.5)
        each = [first_container(user, lab) for _ in range(options.rounds)]
        yield Row("unmanaged: first container", statistics.median(each), "s", 1.5)
        yield Row("memory of a master", masters_memory(user, lab, folder), "MiB", 60.0)


def line_of(row: Row) -> str:
    """A row as text."""
    goal = "" if row.goal is None else f"{row.goal:g}"
    late = "  missed" if row.missed else ""
    return f"{row.what:42}{row.value:9.2f}{goal:>8}  {row.unit}{late}"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hadoop", default=DEFAULT_VERSION)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--containers", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    compile_package()
    found = []
    if not options.json:
        print(f"{'':42}{'value':>9}{'goal':>8}")
    with tempfile.TemporaryDirectory(prefix="yarn-bench-") as folder:
        for row in rows(options, Path(folder)):
            found.append(row)
            if not options.json:
                print(line_of(row), flush=True)
    if options.json:
        print(json.dumps(msgspec.to_builtins(found)))
    raise SystemExit(any(row.missed for row in found))


if __name__ == "__main__":
    main()
