"""Tells the other ranks if rank 0 is killed before they have joined: a process that outlives it.

Used by `run` where ranks meet in a directory; MPI, and YARN's ApplicationMaster, see by themselves
that a rank has died.  A rank that gets SIGKILL says nothing, and the others would wait until the
end of the start time for it.  Forked before rank 0 writes anything; ends with the start, or with
rank 0.  Does not outlive its node, nor a SIGKILL of everything that runs there.
"""

from __future__ import annotations

import contextlib
import os
from typing import NoReturn

from rayhpc.exit_codes import ExitCode
from rayhpc.launch.fork import close_all_but_standard
from rayhpc.launch.rendezvous import Record, Rendezvous

_DISMISSED = b"."


class StartGuard:
    """The process, as rank 0 sees it: a pipe that only rank 0 can write to.

    Args:
        channel: where the other ranks look.
        host: this node's name, for them.
    """

    def __init__(self, channel: Rendezvous, host: str) -> None:
        reading, self._writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _outlive(channel, host, reading)
        os.close(reading)

    def dismiss(self) -> None:
        """All have joined, or know why there will be no cluster."""
        if self._writing < 0:
            return
        with contextlib.suppress(BrokenPipeError):  # somebody has killed it
            os.write(self._writing, _DISMISSED)
        os.close(self._writing)
        self._writing = -1
        os.waitpid(self._pid, 0)


def _outlive(channel: Rendezvous, host: str, reading: int) -> NoReturn:
    """Wait for the end of the start, or of rank 0 (its signals are blocked here, too)."""
    try:
        os.setsid()  # a SIGKILL to rank 0's process group must not come here
        os.dup2(reading, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        close_all_but_standard()
        if os.read(0, 1) != _DISMISSED:
            channel.prepare()
            sentence = f"rank 0 on {host} was killed before all nodes had joined"
            channel.publish(Record(error=sentence, code=int(ExitCode.HEAD_LOST)))
    finally:
        os._exit(0)
