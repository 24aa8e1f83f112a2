"""The key's way on YARN: rank 0 gives it to its ApplicationMaster, the others have it from YARN.

Used by `run` in containers of our own ApplicationMaster.  Rank 0 is the ApplicationMaster's child
and has a socket to it; every other container is started when the record is known, and finds it
among the secrets of its token file, which YARN gives to that container alone.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

import msgspec

from rayhpc.batch.yarn.application import LINK_FD, RECORD_SECRET
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.hadoop.tokens import Credentials
from rayhpc.launch.private_fds import keep_private
from rayhpc.launch.rendezvous import Record, Report

_TOKEN_FILE = "HADOOP_TOKEN_FILE_LOCATION"


def open_channel(environ: Mapping[str, str]) -> YarnChannel | None:
    """The channel of this rank; None where no ApplicationMaster of ours has started it."""
    if environ.get(LINK_FD, "").isdigit():
        descriptor = int(environ[LINK_FD])
        os.set_inheritable(descriptor, False)
        return YarnChannel(socket.socket(fileno=keep_private(descriptor)), None)
    try:
        secret = Credentials.load(environ.get(_TOKEN_FILE, "")).secrets.get(RECORD_SECRET)
    except (OSError, ValueError):
        return None
    return None if secret is None else YarnChannel(None, secret)


class YarnChannel:
    """With the methods of `channel.Channel`.

    Args:
        master: rank 0's socket to the ApplicationMaster.
        secret: the record, on all other ranks.
    """

    def __init__(self, master: socket.socket | None, secret: bytes | None) -> None:
        self._master, self._secret = master, secret

    def prepare(self) -> None:
        """Nothing is left over from earlier starts."""

    def publish(self, record: Record) -> None:
        """Rank 0: give the record to the ApplicationMaster, which starts the others with it."""
        assert self._master is not None
        record.written = time.time()
        try:
            self._master.send(msgspec.json.encode(record))
        except OSError:
            raise LaunchError(
                "the ApplicationMaster is gone; YARN's page of this application says why",
                ExitCode.RENDEZVOUS,
            ) from None

    def reports(self) -> dict[int, Report]:
        """None: the ApplicationMaster itself replaces ranks that cannot start, or gives up."""
        return {}

    def withdraw(self) -> None:
        """Nothing lies anywhere."""

    def leave(self) -> None:
        """Nothing lies anywhere."""

    def wait(self, timeout_s: float, after: float, pause: Callable[[float], None]) -> Record:
        """The others: the record that this container was started with.

        Raises:
            LaunchError: its head does not answer; the ApplicationMaster will start another
                container when there is another head.
        """
        assert self._secret is not None
        record = msgspec.json.decode(self._secret, type=Record)
        if record.written <= after:
            raise LaunchError("the head does not answer any more", ExitCode.HEAD_LOST)
        return record

    def report(self, report: Report) -> None:
        """The container's end, with its exit code, tells the ApplicationMaster."""
