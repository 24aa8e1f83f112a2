"""Distributes the key through the batch system itself: no file, no port.

Used by `run` for batch systems whose object has a `SecretLink` here, such as YARN's containers of
our own ApplicationMaster.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from rayhpc.batch.system import Resizer, SecretLink
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.rendezvous import Record, Report


class SystemChannel:
    """Implements `channel.Channel`."""

    def __init__(self, link: SecretLink) -> None:
        self._link = link

    def prepare(self) -> None:
        """Nothing to do: earlier starts leave nothing behind."""

    def publish(self, record: Record) -> None:
        """Rank 0: pass the record on.  Raises LaunchError if nobody takes it."""
        record.written = time.time()
        self._link.give(msgspec.json.encode(record))

    def wait(self, timeout_s: float, after: float, pause: Callable[[float], None]) -> Record:
        """Other ranks: the record that this rank was started with.

        Raises:
            LaunchError: its head does not answer; another rank will be started for the next head.
        """
        record = msgspec.json.decode(self._link.take(), type=Record)
        if record.written <= after:
            raise LaunchError("the head no longer answers", ExitCode.HEAD_LOST)
        return record

    def resizer(self) -> Resizer | None:
        """Rank 0: who gives this job nodes and takes them back; None: it keeps its size."""
        return self._link.resizer()

    def report(self, report: Report) -> None:
        """Nothing to do: this rank's exit code tells its starter."""

    def reports(self) -> dict[int, Report]:
        """Empty: whatever starts the ranks replaces those that cannot start, or gives up."""
        return {}

    def withdraw(self) -> None:
        """Nothing to do: nothing was written."""

    def leave(self) -> None:
        """Nothing to do: nothing was written."""
