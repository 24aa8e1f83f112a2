"""The network of a lab whose daemons are hosts: a namespace for each, and one for the clients.

Used by `lab`; `python -m yarn.lab.network` is the process that keeps the namespaces, with a switch
between them and no way out.  They end with it and with what runs in them.  Where there can be none,
all daemons share the machine's loopback.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from yarn.lab.errors import LabError
from yarn.lab.processes import Process

# Nobody else hears of it: every lab has the same.
NET = "10.87.0"
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_libc = ctypes.CDLL(None, use_errno=True)


def why_not() -> str:
    """Why hosts cannot have namespaces here; empty if they can."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    missing = [name for name in ("ip", "nsenter", "unshare") if not shutil.which(name)]
    if missing:
        return f"no {', '.join(missing)} (Debian: iproute2, util-linux)"
    refused = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return "this machine refuses to make network namespaces" if refused.returncode else ""


class Network:
    """The hosts.

    Args:
        keeper: the process that keeps the namespaces.
        descriptors: of each host's, in that process; empty: all hosts are this machine.
    """

    def __init__(self, keeper: Process, descriptors: Mapping[str, int]) -> None:
        self.keeper = keeper
        self.descriptors = dict(descriptors)

    @classmethod
    def start(cls, addresses: Mapping[str, str], log: Path) -> Network:
        """Make a host for each name.

        Args:
            addresses: of each.
            log: where the keeper's errors go.

        Raises:
            LabError: it could not be made.
        """
        command = [sys.executable, "-m", "yarn.lab.network"]
        with log.open("wb") as errors:
            started = subprocess.Popen(
                [*command, *(f"{name}={address}" for name, address in addresses.items())],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert started.stdout is not None
        with started.stdout:
            said = started.stdout.readline()
        keeper = Process.of(started.pid)
        if not said or keeper is None:
            started.wait()
            raise LabError(f"the lab's network cannot be made:\n{log.read_text()}")
        return cls(keeper, json.loads(said))

    def command(self, host: str, words: Sequence[str]) -> list[str]:
        """The command that runs `words` on a host."""
        if not self.descriptors:
            return list(words)
        return ["nsenter", f"--net={self._path(host)}", "--", *words]

    @contextlib.contextmanager
    def on(self, host: str) -> Iterator[None]:
        """What this thread does meanwhile is done there, with what it starts."""
        if not self.descriptors:
            yield
            return
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(os.open(self._path(host), os.O_RDONLY))
            yield
        finally:
            _enter(here)

    def _path(self, host: str) -> str:
        return f"/proc/{self.keeper.pid}/fd/{self.descriptors[host]}"


#: All daemons are on this machine, which has an address of its loopback for each.
LOOPBACK = Network(Process(0, 0), {})


def _enter(namespace: int) -> None:
    """Move this thread to a namespace, whose descriptor is closed."""
    try:
        if _libc.setns(namespace, _NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter a network namespace")
    finally:
        os.close(namespace)


def _make_namespace() -> int:
    """A new one, in which this thread is from now on; its descriptor."""
    if _libc.unshare(_NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace can be made")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _make_host(address: str, switch: str, port: str) -> int:
    """A namespace with a cable to the switch."""
    namespace = _make_namespace()
    # The same hardware address for the same host: nobody has to learn it anew.
    hardware = ":".join(["02", "00", *(f"{int(octet):02x}" for octet in address.split("."))])
    _ip(
        "link set lo up",
        f"link add eth0 address {hardware} type veth peer name {port} netns {switch}",
        f"addr add {address}/24 dev eth0",
        "link set eth0 up",
    )
    return namespace


def _ip(*lines: str) -> None:
    """Raises CalledProcessError."""
    text = "".join(f"{line}\n" for line in lines)
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)


def main() -> None:
    """Keep the namespaces, each told as `NAME=ADDRESS`; says their descriptors when all are up."""
    switch = _make_namespace()
    _ip("link add br0 type bridge", "link set br0 up")
    hosts = dict(word.split("=") for word in sys.argv[1:])
    path = f"/proc/{os.getpid()}/fd/{switch}"
    made = {name: _make_host(address, path, f"p-{name}") for name, address in hosts.items()}
    _enter(os.dup(switch))
    _ip(*(f"link set p-{name} master br0 up" for name in hosts))
    print(json.dumps(made), flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
