"""`rayhpc top` on a real cluster, at a real terminal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rayhpc.exit_codes import LaunchError
from rayhpc.launch.live_logs import LiveLogs
from rayhpc.launch.observer import Observer, Operator
from rayhpc.wire.address import raylet_of
from rayhpc.wire.messages.cluster import KvPut, Workers
from rayhpc.wire.messages.listings import WorkerRow
from rayhpc.wire.messages.looking import Stacks, ThreadStack
from tests.cli.shell import FREE, Shell

PROGRAM = """
import time
import rayhpc as ray
ray.init()

@ray.remote
class Sleeper:
    def nap(self):
        print("nap begins", flush=True)
        time.sleep(600)

@ray.remote(num_cpus=0.1)
def square(x):
    return x * x

@ray.remote(num_cpus=64)
def impossible():
    pass

sleeper = Sleeper.options(num_cpus=0.1).remote()
nap = sleeper.nap.remote()
never = impossible.remote()
print(sum(ray.get([square.remote(i) for i in range(50)])), flush=True)
input()
"""
WITHIN_S = 40.0


class Program:
    """A driver that has run fifty tasks, has an actor that sleeps, and a task that cannot run."""

    def __init__(self, address: str) -> None:
        environ = {**os.environ, "RAYHPC_ADDRESS": address}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        # The actor's line may come first.
        assert any(line == b"40425\n" for line in self.process.stdout)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def test_top_at_a_terminal_and_what_an_observer_may_do(shell: Shell, tmp_path: Path) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("no tmux on this machine")
    pytest.importorskip("textual")
    record = shell.start(*FREE)
    with Program(record.address):
        _at_a_terminal(record.address, tmp_path / "tmux")
        done = shell("top", "--json", "--address", record.address)
        found = json.loads(done.stdout)
        assert {x["name"]: x["count"] for x in found["functions"]}["square"] == 50, done.stderr
        assert found["pending"][0]["wants"]["CPU"] == 64
        with Observer(record.session_dir) as observer:
            _reads_logs_and_stacks(observer)
            with pytest.raises(LaunchError, match="An observer only reads: KvPut is refused"):
                observer.ask(KvPut("", b"k", b"v"), bool)
        with Operator(record.session_dir) as operator:
            assert operator.ask(KvPut("", b"k", b"v"), bool)
    done = shell("top", "--address", record.address)
    assert (done.returncode, "needs a terminal" in done.stderr) == (78, True), done.stderr


def _at_a_terminal(address: str, socket: Path) -> None:
    tmux = ["tmux", "-S", str(socket)]
    command = f"{sys.executable} -m rayhpc.cli.main top --address {address}; echo left $?; read x"
    start = ["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "30", command]
    # Both would be taken for the terminal's size.
    environ = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    subprocess.run([*tmux, *start], check=True, env=environ)
    try:
        _wait_for(tmux, "square")
        subprocess.run([*tmux, "send-keys", "5"], check=True)
        _wait_for(tmux, "64 CPU")
        subprocess.run([*tmux, "send-keys", "6"], check=True)
        _wait_for(tmux, "nap begins")
        subprocess.run([*tmux, "send-keys", "q"], check=True)
        _wait_for(tmux, "left 0")
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


def _wait_for(tmux: list[str], text: str) -> None:
    """Until the terminal shows it; tmux tells nobody that something was drawn."""
    deadline = time.monotonic() + WITHIN_S
    shown = ""
    while time.monotonic() < deadline:
        words = [*tmux, "capture-pane", "-p"]
        shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        if text in shown:
            return
        time.sleep(0.05)
    raise AssertionError(shown)


def _reads_logs_and_stacks(observer: Observer) -> None:
    logs = LiveLogs(observer)
    assert any("nap begins" in x.text for x in logs.news())
    assert logs.news() == []
    assert [x.text.split(") ")[1] for x in logs.search("NAP begins", 5)] == ["nap begins"]
    (node,) = observer.nodes()
    rows = observer.ask(Workers(), list[WorkerRow], raylet_of(node.info.number))
    (actor,) = [x.address for x in rows if x.actor]
    stacks = observer.ask(Stacks(), list[ThreadStack], actor)
    assert any("in nap" in x.frames for x in stacks)
