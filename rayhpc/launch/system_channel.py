"""The key's way where the batch system itself carries it: no file, no port.

Used by `run` for batch systems whose object has a `SecretLink` here, such as YARN's containers of
our own ApplicationMaster.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from rayhpc.batch.system import SecretLink
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.rendezvous import Record, Report


class SystemChannel:
    """With the methods of `channel.Channel`."""

    def __init__(self, link: SecretLink) -> None:
        self._link = link

    def prepare(self) -> None:
        """Nothing is left over from earlier starts."""

    def publish(self, record: Record) -> None:
        """Rank 0: hand the record over.  Raises LaunchError if nobody takes it."""
        record.written = time.time()
        self._link.give(msgspec.json.encode(record))

    def wait(self, timeout_s: float, after: float, pause: Callable[[float], None]) -> Record:
        """The others: the record that this rank was started with.

        Raises:
            LaunchError: its head does not answer; another rank will be started for the next one.
        """
        record = msgspec.json.decode(self._link.take(), type=Record)
        if record.written <= after:
            raise LaunchError("the head does not answer any more", ExitCode.HEAD_LOST)
        return record

    def report(self, report: Report) -> None:
        """This rank's end, with its exit code, tells whoever has started it."""

    def reports(self) -> dict[int, Report]:
        """None: who starts the ranks replaces those that cannot start, or gives up."""
        return {}

    def withdraw(self) -> None:
        """Nothing lies anywhere."""

    def leave(self) -> None:
        """Nothing lies anywhere."""
