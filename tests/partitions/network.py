"""Namespaces of this machine joined by a switch, and what can happen to the cables between them.

Used by `scenario`.  Whatever it makes ends with the calling process.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.partitions import switch

Pairs = Iterable[tuple[int, int]]
# A connection that has moved so much carries objects.
_MUCH = 4 * 2**20
_ROOT = Path(__file__).resolve().parents[2]
_libc = ctypes.CDLL(None, use_errno=True)


def why_not() -> str:
    """Why there can be no such network here; empty if there can."""
    if os.geteuid() != 0:
        return "partitions are tried in network namespaces, which takes root"
    missing = [x for x in ("ip", "nsenter", "ss", "unshare") if not shutil.which(x)]
    if missing:
        return f"partitions are tried with {', '.join(missing)}, which is missing here"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "partitions are tried with a switch of our own, which takes /dev/net/tun"
    refused = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return "this machine refuses to make network namespaces" if refused.returncode else ""


class Network:
    """Hosts 1 … `count`, each a network namespace with the address `address(host)`.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._switch = subprocess.Popen(
            [sys.executable, "-m", "tests.partitions.switch", str(count)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._switch.stdout is not None
        held = json.loads(self._switch.stdout.readline())
        self._names = [f"/proc/{self._switch.pid}/fd/{each}" for each in held]
        self.hosts = range(1, count + 1)
        # Where the head listens, on host 1.
        self.head_port = 0

    def close(self) -> None:
        """End the switch."""
        assert self._switch.stdin is not None
        self._switch.stdin.close()
        self._switch.wait()

    def address(self, host: int) -> str:
        """A host's address."""
        return switch.address(host)

    @contextlib.contextmanager
    def on(self, host: int) -> Iterator[None]:
        """What this thread does meanwhile, and processes and threads that it starts, is there."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            self.move_to(host)
            yield
        finally:
            _enter(here)

    def move_to(self, host: int) -> None:
        """This thread is on that host from now on."""
        _enter(os.open(self._names[host - 1], os.O_RDONLY))

    # -- what can happen ---------------------------------------------------------------------------
    def between(self, one: Iterable[int], two: Iterable[int]) -> list[tuple[int, int]]:
        """Both directions between hosts."""
        ways = [(i, j) for i in one for j in two]
        return [*ways, *((j, i) for i, j in ways)]

    def cut(self, pairs: Pairs) -> None:
        """Nothing passes from the first of each pair to the second."""
        self._order(pairs, loss=1.0)

    def mend(self) -> None:
        """Everything passes again, at once."""
        self._order([(i, j) for i in self.hosts for j in self.hosts if i != j])

    def lose(self, pairs: Pairs, share: float) -> None:
        """Frames are lost at random."""
        self._order(pairs, loss=share)

    def delay(self, pairs: Pairs, seconds: float) -> None:
        """Frames arrive later."""
        self._order(pairs, delay=seconds)

    def change(self, pairs: Pairs, share: float) -> None:
        """Of so many frames with parts of objects some bytes are changed, unseen by TCP."""
        self._order(pairs, changed=share)

    def change_to_head(self, pairs: Pairs, share: float) -> None:
        """Of so many frames between a raylet and the head some bytes are changed, as above."""
        self._order(pairs, changed=share, port=self.head_port)

    def set_interface(self, host: int, state: str) -> None:
        """The interface of a host goes "up" or "down", as an administrator would have it."""
        self._run(host, "ip", "link", "set", "eth0", state)

    def reset(self, host: int, *, busy: bool) -> int:
        """Reset connections of a host to all others.

        Args:
            busy: those alone that objects pass through, by the bytes that they have moved.

        Returns:
            how many.
        """
        listed = self._run(host, "ss", "--tcp", "--info", "--no-header", "--numeric").stdout
        count = 0
        # One line with the two ends, and one with what the kernel knows.
        for ends, known in re.findall(r"^ESTAB(.*)\n(\s.*)$", listed, re.MULTILINE):
            moved = [int(x) for x in re.findall(r"bytes_(?:received|sent):(\d+)", known)]
            local, peer = ends.split()[2:4]
            if local.startswith(switch.SUBNET) and (not busy or max(moved, default=0) >= _MUCH):
                self._run(host, "ss", "--kill", "--tcp", "src", local, "dst", peer)
                count += 1
        return count

    def reset_to_head(self, host: int) -> int:
        """Reset the connection of a host's raylet to the head.

        Returns:
            how many there were.
        """
        head = f"{self.address(1)}:{self.head_port}"
        killed = self._run(host, "ss", "--kill", "--tcp", "--no-header", "dst", head).stdout
        return len(killed.splitlines())

    def _run(self, host: int, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["nsenter", f"--net={self._names[host - 1]}", "--", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True)

    def _order(
        self,
        pairs: Pairs,
        loss: float = 0.0,
        delay: float = 0.0,
        changed: float = 0.0,
        port: int = 0,
    ) -> None:
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        order = {"pairs": list(pairs), "loss": loss, "delay": delay, "changed": changed}
        order["port"] = port
        print(json.dumps(order), file=self._switch.stdin, flush=True)
        self._switch.stdout.readline()


def _enter(namespace: int) -> None:
    """Move this thread to a namespace, whose descriptor is closed."""
    try:
        if _libc.setns(namespace, 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter a network namespace")
    finally:
        os.close(namespace)
