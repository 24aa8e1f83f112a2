"""Rank 0 as the ApplicationMaster sees it: a child process, and a socket to its head.

Used by `loop`.  The other end of the socket is in `link` and `resizer`, the messages are in `talk`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rayhpc.batch.yarn import talk
from rayhpc.batch.yarn.application import LINK_FD
from rayhpc.exit_codes import exit_code_of
from rayhpc.hadoop.tokens import AMRM_KIND, Credentials
from rayhpc.machine.processes import die_with_parent

_OWN_TOKENS = "rank-0.tokens"
_MOST_BYTES = 1 << 16


class RankZero:
    """The process of rank 0, from its start to its end.

    Args:
        command: the command `rayhpc run`.
        environ: its environment.
        directory: where it runs; None: here.
    """

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], directory: str | None
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.socket = ours
        me = os.getpid()

        def prepare() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            if not die_with_parent(me, signal.SIGKILL):
                os._exit(128 + signal.SIGKILL)

        with theirs:
            self._process = subprocess.Popen(
                list(command),
                env={**environ, LINK_FD: str(theirs.fileno())},
                cwd=directory,
                pass_fds=[theirs.fileno()],
                preexec_fn=prepare,  # noqa: PLW1509
            )

    def poll(self) -> int | None:
        """The exit code as a shell reports it; None while it runs."""
        code = self._process.poll()
        return None if code is None else exit_code_of(code)

    def receive(self) -> talk.FromRankZero | None:
        """A message from rank 0, once the socket is readable; None: it has closed the socket."""
        try:
            packet = self.socket.recv(_MOST_BYTES)
        except ConnectionResetError:
            return None
        return talk.from_rank_zero(packet) if packet else None

    def drain(self, rank: int) -> None:
        """Have a rank leave the cluster once its work is done."""
        with contextlib.suppress(OSError):  # rank 0 has ended, and so do all others
            self.socket.send(talk.encode(talk.Drain(rank)))

    def describe(self, ranks: talk.Ranks) -> None:
        """Answer its question; it asks again if that is lost."""
        with contextlib.suppress(OSError):
            self.socket.send(talk.encode(ranks))

    def terminate(self) -> None:
        """Tell it to end."""
        if self._process.poll() is None:
            self._process.terminate()

    def end(self, patience_s: float) -> int:
        """SIGTERM, and after `patience_s` seconds SIGKILL; returns the exit code."""
        self.terminate()
        try:
            return exit_code_of(self._process.wait(patience_s))
        except subprocess.TimeoutExpired:
            self._process.kill()
            return exit_code_of(self._process.wait())


def save_tokens(credentials: Credentials, folder: Path) -> str:
    """A token file for rank 0: the container's tokens except the ApplicationMaster's own.

    Returns:
        Its path.
    """
    path = folder / _OWN_TOKENS
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(credentials.without(AMRM_KIND).encode())
    return str(path)
