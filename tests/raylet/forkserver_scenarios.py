"""Scenarios for `test_forkserver.py`, each run in a fresh interpreter as a node process would be.

`python forkserver_scenarios.py NAME FOLDER` prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from typing import Any

from rayhpc.raylet import forkserver
from rayhpc.raylet import forkserver_messages as messages

ENTRY = "forkserver_scenarios:worker"


def worker(number: int, args: bytes) -> None:
    """What a test's worker does: its args are Python source."""
    exec(args.decode(), {"number": number})


class Node:
    """A raylet's side, as small as it can be."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.join(folder, "session")
        os.mkdir(self.folder)
        self.server = forkserver.start(self.folder, ENTRY)
        self.readers: dict[int, tuple[int, int]] = {}
        self.seen: list[Any] = []

    def spawn(self, number: int, source: str, channel: Any = None, **more: Any) -> None:
        out, err = os.pipe(), os.pipe()
        self.readers[number] = (out[0], err[0])
        command = messages.Spawn(number, source.encode(), **more)
        (channel or self.server).send(command, [out[1], err[1]])

    def next(self, kind: type, channel: Any = None, timeout: float = 20.0) -> Any:
        channel = channel or self.server
        deadline = time.monotonic() + timeout
        while True:
            for i, event in enumerate(self.seen):
                if isinstance(event, kind):
                    return self.seen.pop(i)
            left = deadline - time.monotonic()
            assert left > 0, f"no {kind}: {self.seen}"
            assert not channel.is_closed
            select.select([channel], [], [], left)
            self.seen += channel.events()

    def output(self, number: int) -> list[str]:
        return [read_all(x) for x in self.readers[number]]

    def end(self) -> bool:
        return self.server.finish(10.0)

    def template(self, **wanted: Any) -> forkserver.Channel:
        import socket

        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.server.send(messages.MakeTemplate(**wanted), [its.detach()])
        return forkserver.Channel(mine)


def read_all(descriptor: int) -> str:
    data = b""
    while chunk := os.read(descriptor, 65536):
        data += chunk
    return data.decode()


def gone(pid: int) -> bool:
    """Whether a process ends (it is not our child) within a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] in "ZX":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.005)
    return False


def life(node: Node) -> Any:
    """One worker: number, streams, environment, exit code.  The directory is left alone."""
    os.environ["TAKEN"] = "1"
    node.spawn(
        7,
        "import os, sys; print(number, os.environ['GIVEN'], 'TAKEN' in os.environ);"
        "print('wrong', file=sys.stderr); sys.exit(3)",
        environ={"GIVEN": "yes", "TAKEN": None},
    )
    spawned = node.next(messages.Spawned)
    ended = node.next(messages.Ended)
    return {
        "same": spawned.pid == ended.pid,
        "code": os.waitstatus_to_exitcode(ended.status),
        "output": node.output(7),
        "clean": node.end(),
        "folder": os.path.exists(node.folder),
    }


def shared(node: Node) -> Any:
    """Descriptors that a worker inherits under agreed numbers."""
    files = [os.memfd_create("a"), os.memfd_create("b")]
    os.write(files[0], b"arena")
    os.write(files[1], b"slots")
    node.server.share((files[0], files[1]))
    numbers = node.server.shared
    node.spawn(1, f"import os; print([os.pread(x, 5, 0) for x in {numbers}])")
    node.next(messages.Ended)
    return {"output": node.output(1)[0], "clean": node.end()}


def kill(node: Node) -> Any:
    """A signal on request; what the worker had started goes with it."""
    source = "import subprocess, time; print(subprocess.Popen(['sleep', '99']).pid); time.sleep(99)"
    node.spawn(1, source)
    pid = node.next(messages.Spawned).pid
    child = int(os.read(node.readers[1][0], 100))
    node.server.send(messages.Signal(pid, signal.SIGKILL))
    ended = node.next(messages.Ended)
    signalled = os.WTERMSIG(ended.status)
    return {"signal": signalled, "child": gone(child), "clean": node.end()}


def orphan(node: Node) -> Any:
    """At the end nothing is left, not even what has left its worker's group and session."""
    source = (
        "import subprocess; print(subprocess.Popen(['sleep', '99'], start_new_session=True).pid)"
    )
    node.spawn(1, source)
    node.next(messages.Ended)
    child = int(os.read(node.readers[1][0], 100))
    alive = os.path.exists(f"/proc/{child}")
    return {"alive": alive, "clean": node.end(), "child": gone(child)}


def raylet_killed(node: Node) -> Any:
    """The node process is killed: its parent (the test) looks at what is left."""
    channel = node.template(path=[], preload=[])
    node.next(messages.Ready, channel)
    node.spawn(1, "import time; time.sleep(99)")
    node.spawn(2, "import time; time.sleep(99)", channel)
    pids = [node.next(messages.Spawned).pid, node.next(messages.Spawned, channel).pid]
    print(json.dumps([*pids, node.server.pid]), flush=True)
    # A sibling that holds the socket pair open must not keep the server.
    if os.fork() == 0:
        os.close(1)
        os.close(2)
        time.sleep(5)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def server_killed(node: Node) -> Any:
    """Workers end with the fork server; the raylet sees its channel close."""
    node.spawn(1, "import time; time.sleep(99)")
    pid = node.next(messages.Spawned).pid
    os.kill(node.server.pid, signal.SIGKILL)
    select.select([node.server], [], [], 10)
    list(node.server.events())
    return {"closed": node.server.is_closed, "worker": gone(pid)}


def template(node: Node) -> Any:
    """Modules are there, once imported; path and environment are the template's."""
    with open(os.path.join(node.folder, "mine.py"), "w") as file:
        file.write("import os\nVALUE = os.environ['GIVEN']\nPID = os.getpid()\n")
    channel = node.template(
        path=[node.folder], preload=["mine", "no_such_module"], environ={"GIVEN": "yes"}
    )
    ready = node.next(messages.Ready, channel)
    node.spawn(1, "import mine, os; print(mine.VALUE, mine.PID != os.getpid())", channel)
    ended = node.next(messages.Ended, channel)
    result = {"skipped": ready.skipped, "status": ended.status, "output": node.output(1)[0]}
    channel.close()
    node.next(messages.Ended)  # the template itself leaves
    return {**result, "clean": node.end()}


def unfit(node: Node) -> Any:
    """Modules that make a process unfit for forking are named."""
    sources = {
        "threaded": "import threading\nthreading.Thread(target=lambda: __import__('time')"
        ".sleep(99), daemon=True).start()\n",
        "contexted": "import zmq\ncontext = zmq.Context()\n",
        "harmless": "import zmq\nzmq.Context().term()\n",
    }
    for name, text in sources.items():
        with open(os.path.join(node.folder, f"{name}.py"), "w") as file:
            file.write(text)
    verdicts = {}
    for name in sources:
        channel = node.template(path=[node.folder], preload=["json", name])
        event = node.next((messages.Ready, messages.Unfit), channel)  # type: ignore[arg-type]
        verdicts[name] = getattr(event, "module", "") + ": " + getattr(event, "reason", "fit")
    return {**verdicts, "clean": node.end()}


def numpy(node: Node) -> Any:
    """BLAS threads do not count; workers draw different numbers; memory is shared."""
    channel = node.template(path=[], preload=["numpy"])
    node.next(messages.Ready, channel)
    source = (
        "import sys; assert 'numpy' in sys.modules; import numpy as np;"
        "print((np.ones((64, 64)) @ np.ones((64, 64))).sum(), np.random.rand())"
    )
    for i in range(2):
        node.spawn(i, source, channel)
        node.next(messages.Ended, channel)
    out = [node.output(i)[0].split() for i in range(2)]
    return {"sums": [x[0] for x in out], "drawn": out[0][1] != out[1][1], "clean": node.end()}


def cost(node: Node) -> Any:
    """Seconds from the order to the worker's first line, and its private memory in KiB."""
    source = (
        "import os; print('up', flush=True)\n"
        "text = open('/proc/self/smaps_rollup').read().split()\n"
        "print(sum(int(text[i + 1]) for i, x in enumerate(text) if x.startswith('Private_')))"
    )
    node.spawn(0, source)
    node.next(messages.Ended)
    start = time.perf_counter()
    times = []
    for i in range(1, 6):
        start = time.perf_counter()
        node.spawn(i, source)
        os.read(node.readers[i][0], 3)
        times.append(time.perf_counter() - start)
    for _ in times:
        node.next(messages.Ended)
    private = int(node.output(1)[0].split()[-1])
    return {"seconds": min(times), "private": private, "clean": node.end()}


def signals(node: Node) -> Any:
    """The job's signals leave workers and server alone, and are not ignored in subprocesses."""
    source = (
        "import os, signal, subprocess\n"
        "for x in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1): os.kill(os.getpid(), x)\n"
        "text = subprocess.check_output(['grep', 'SigIgn', '/proc/self/status'], text=True)\n"
        "print(int(text.split()[1], 16) & (1 << signal.SIGTERM - 1))\n"
        "import multiprocessing, time\n"
        "child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(99,))\n"
        "child.start(); child.terminate(); child.join(20); print(child.exitcode)"
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        node.spawn(int(number), source)  # the server has its handlers once it answers
        node.next(messages.Ended)
        os.kill(node.server.pid, number)
    node.spawn(99, source)
    status = node.next(messages.Ended).status
    return {"status": status, "output": node.output(99)[0].split(), "clean": node.end()}


def main() -> None:
    name, folder = sys.argv[1:]
    node = Node(folder)
    print(json.dumps(globals()[name](node)))


if __name__ == "__main__":
    main()
