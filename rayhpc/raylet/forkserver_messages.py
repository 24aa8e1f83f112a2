"""Messages between a raylet and its fork server (or one of its templates).

Used by `forkserver.py` (the raylet's side) and `forkserver_loop.py` (the server's).  One message is
one packet on a SOCK_SEQPACKET socket pair; descriptors are sent beside it (SCM_RIGHTS).
"""

from __future__ import annotations

import msgspec

PACKET_BYTES = 150_000
DESCRIPTORS_MAX = 8


class Share(msgspec.Struct, array_like=True, tag=1):
    """To the server: keep the accompanying descriptors, under these numbers."""

    numbers: list[int]


class Spawn(msgspec.Struct, array_like=True, tag=2):
    """To a server: fork worker `number`; its stdout and stderr are attached.

    `args` is passed to the entry unread; in `environ` None removes a variable.
    """

    number: int
    args: bytes
    environ: dict[str, str | None] = {}
    folder: str = ""


class MakeTemplate(msgspec.Struct, array_like=True, tag=3):
    """To the server: fork a server that imports `preload` first; its socket is attached."""

    path: list[str]
    preload: list[str]
    environ: dict[str, str | None] = {}
    folder: str = ""


class Signal(msgspec.Struct, array_like=True, tag=4):
    """To a server: signal one of your children, if it has not ended."""

    pid: int
    signum: int


class Finish(msgspec.Struct, array_like=True, tag=5):
    """To the server: end all children and exit; the raylet cleans up itself."""


class Spawned(msgspec.Struct, array_like=True, tag=10):
    """From a server: worker `number` is process `pid`."""

    number: int
    pid: int


class SpawnFailed(msgspec.Struct, array_like=True, tag=11):
    """From a server: worker `number` could not be forked."""

    number: int
    reason: str


class Ended(msgspec.Struct, array_like=True, tag=12):
    """From a server: a child has ended; `status` in the form waitpid(2) returns it."""

    pid: int
    status: int


class Ready(msgspec.Struct, array_like=True, tag=13):
    """From a template: imports done, ready to fork; `skipped` could not be imported."""

    skipped: list[str] = []


class Unfit(msgspec.Struct, array_like=True, tag=14):
    """From a template: `module` made it unfit for forking, `reason` says how; it exits."""

    module: str
    reason: str


Command = Share | Spawn | MakeTemplate | Signal | Finish
Event = Spawned | SpawnFailed | Ended | Ready | Unfit

encode = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(Command).decode
decode_event = msgspec.msgpack.Decoder(Event).decode
