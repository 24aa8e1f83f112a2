"""A network switch in user space, whose ports are network namespaces and whose cables can be cut.

    python -m tests.partitions.switch COUNT

Started by `network`; needs root and /dev/net/tun.  Makes COUNT namespaces, each with a TAP device
"eth0" of its own, and passes frames between them: it can lose and delay them, for each direction by
itself, whatever packet schedulers the kernel was built with.  Says the descriptors of its
namespaces first, then takes one JSON object a line and answers each with an empty line:
`{"pairs": [[1, 2], …], "loss": 0.1, "delay": 0.05, "changed": 0, "port": 0}` sets what happens to
frames from 1 to 2.  What is changed are two words of a large frame, or with `port` of any that goes
from or to that TCP port, which change places: so TCP's checksum, a sum, does not tell.
Ends with its standard input, and the namespaces with it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field

SUBNET = "10.79.0"
MTU = 9000
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_SET_INTERFACE = 0x400454CA  # TUNSETIFF
_TAP_WITHOUT_HEADER = 0x0002 | 0x1000  # IFF_TAP | IFF_NO_PI
_LARGEST = 65536
# Larger than what raylets have to say to one another: a frame with part of an object.
_LARGE = 6000
_COMMANDS = 0
_IPV4 = b"\x08\x00"


@dataclass
class Cable:
    """What happens to frames in one direction between two ports."""

    loss: float = 0.0
    delay_s: float = 0.0
    changed: float = 0.0
    port: int = 0
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)


def address(port: int) -> str:
    """The address of the namespace at a port (counted from 1)."""
    return f"{SUBNET}.{port}"


def _make_namespace(port: int) -> tuple[int, int]:
    """A new network namespace and the TAP device in it, as descriptors."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace can be made")
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, _SET_INTERFACE, struct.pack("16sH", b"eth0", _TAP_WITHOUT_HEADER))
    script = (
        f"link set lo up\nlink set eth0 address 02:00:00:00:00:{port:02x} mtu {MTU}\n"
        f"addr add {address(port)}/24 dev eth0\nlink set eth0 up\n"
    )
    subprocess.run(["ip", "-batch", "-"], input=script, text=True, check=True)
    return namespace, tap


class Switch:
    """Passes frames on.

    Args:
        taps: the devices of ports 1, 2, ….
    """

    def __init__(self, taps: list[int]) -> None:
        self._taps = dict(enumerate(taps, 1))
        self._cables = {(i, j): Cable() for i in self._taps for j in self._taps if i != j}
        self._random = random.Random(1)

    def run(self) -> None:
        """Until standard input ends."""
        poll = select.poll()
        port_of = {tap: port for port, tap in self._taps.items()}
        for each in (_COMMANDS, *port_of):
            poll.register(each, select.POLLIN)
        while True:
            for ready, _ in poll.poll(self._patience_ms()):
                if ready != _COMMANDS:
                    self._take(port_of[ready])
                elif not self._obey():
                    return
            self._deliver_late()

    def _obey(self) -> bool:
        line = sys.stdin.readline()
        if not line:
            return False
        order = json.loads(line)
        for one, two in order["pairs"]:
            cable = self._cables[one, two]
            cable.loss, cable.delay_s = order["loss"], order["delay"]
            cable.changed, cable.port = order["changed"], order["port"]
        print(flush=True)
        return True

    def _take(self, port: int) -> None:
        """Read what a port has sent, up to a limit: others want their turn."""
        for _ in range(64):
            try:
                frame = os.read(self._taps[port], _LARGEST)
            except BlockingIOError:
                return
            to = frame[5]
            if frame[0] & 1:
                for other in self._taps:
                    self._pass(port, other, frame)
            elif to in self._taps:
                self._pass(port, to, frame)

    def _pass(self, port: int, to: int, frame: bytes) -> None:
        if port == to:
            return
        cable = self._cables[port, to]
        if cable.loss and self._random.random() < cable.loss:
            return
        if cable.changed and _is_meant(frame, cable) and self._random.random() < cable.changed:
            frame = frame[:-8] + frame[-4:-2] + frame[-6:-4] + frame[-8:-6] + frame[-2:]
        if cable.delay_s or cable.waiting:
            cable.waiting.append((time.monotonic() + cable.delay_s, frame))
        else:
            self._deliver(to, frame)

    def _deliver(self, to: int, frame: bytes) -> None:
        try:
            os.write(self._taps[to], frame)
        except OSError:
            pass  # its interface is down, or its queue full: a real switch drops it, too

    def _deliver_late(self) -> None:
        now = time.monotonic()
        for (_, to), cable in self._cables.items():
            while cable.waiting and cable.waiting[0][0] <= now:
                self._deliver(to, cable.waiting.popleft()[1])

    def _patience_ms(self) -> float | None:
        due = [cable.waiting[0][0] for cable in self._cables.values() if cable.waiting]
        return max(0.0, min(due) - time.monotonic()) * 1e3 if due else None


def _is_meant(frame: bytes, cable: Cable) -> bool:
    """Whether it is one of those that are changed."""
    if not cable.port:
        return len(frame) > _LARGE
    # Ethernet, IPv4 and TCP, whose headers say how long they are.
    tcp = 14 + (frame[14] & 0x0F) * 4
    if frame[12:14] != _IPV4 or frame[23] != socket.IPPROTO_TCP:
        return False
    data = tcp + (frame[tcp + 12] >> 4) * 4
    ends = struct.unpack("!HH", frame[tcp : tcp + 4])
    return cable.port in ends and len(frame) - data >= 8


def main() -> None:
    """Make the namespaces, then switch."""
    made = [_make_namespace(port) for port in range(1, int(sys.argv[1]) + 1)]
    print(json.dumps([namespace for namespace, _ in made]), flush=True)
    Switch([tap for _, tap in made]).run()


if __name__ == "__main__":
    main()
