"""The head as a planner in another process sees it: `elastic.loop.Head` over two pipes.

Used by `cli.staying`, and by `cli.keeping` without ssh.  The other end is `launch.growth_server`.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.wire.messages.common import Resources
from rayhpc.wire.messages.elastic import ElasticStatus, Moment
from rayhpc.wire.messages.growth import GrowthAnswer, GrowthCall
from rayhpc.wire.messages.load import ClusterLoad

_ANSWER_S = 30.0
_CHUNK = 1 << 16
# Its pipes are closed a moment before it has ended.
_END_S = 5.0
T = TypeVar("T")


class HeadLine:
    """Implements `loop.Head`.  A context: the connection ends with it.

    Args:
        words: the command whose pipes are the line.
    """

    def __init__(self, words: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe)
        self._read = b""

    def __enter__(self) -> HeadLine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def load(self) -> ClusterLoad:
        """See `loop.Head`, as the others."""
        return self._call(GrowthCall("load"), ClusterLoad)

    def floor(self) -> Sequence[Resources]:
        """Room that programs want in any case."""
        return self._call(GrowthCall("floor"), list[Resources])

    def resumed(self) -> Sequence[str]:
        """Types whose trouble is over."""
        return self._call(GrowthCall("resumed"), list[str])

    def drain(self, node_id: str) -> None:
        """No new work for a node."""
        self._call(GrowthCall("drain", node_id), object)

    def undrain(self, node_id: str) -> None:
        """Work again."""
        self._call(GrowthCall("undrain", node_id), object)

    def remember(self, state: bytes) -> None:
        """Write it down there."""
        self._call(GrowthCall("remember", data=state), object)

    def remembered(self) -> bytes | None:
        """What was written down."""
        found: Any = self._call(GrowthCall("remembered"), object)
        return found if isinstance(found, bytes) else None

    def show(self, status: ElasticStatus) -> None:
        """For `rayhpc status`."""
        self._call(GrowthCall("show", data=msgspec.json.encode(status)), object)

    def keep_history(self, moments: list[Moment]) -> None:
        """For `rayhpc timeline --cluster`."""
        self._call(GrowthCall("keep_history", data=msgspec.json.encode(moments)), object)

    def history(self) -> list[Moment]:
        """What was kept."""
        return self._call(GrowthCall("history"), list[Moment])

    def _call(self, call: GrowthCall, kind: type[T]) -> T:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(call) + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._lost() from None
        answer = msgspec.json.decode(self._line(), type=GrowthAnswer)
        if answer.error:
            raise LaunchError(answer.error, answer.code)
        return msgspec.msgpack.decode(answer.result, type=kind)

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + _ANSWER_S
        while b"\n" not in self._read:
            left = deadline - time.monotonic()
            if not select.select([descriptor], [], [], max(0.0, left))[0]:
                raise LaunchError(f"the head did not answer in {_ANSWER_S:g} s", ExitCode.HEAD_LOST)
            data = os.read(descriptor, _CHUNK)
            if not data:
                raise self._lost()
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _lost(self) -> LaunchError:
        """The connection has ended: what it said last, and whether it was refused."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self._process.kill()
        _, said = self._process.communicate()
        lines = [x for x in said.decode(errors="replace").splitlines() if x.strip()]
        last = f": {lines[-1]}" if lines else ""
        refused = self._process.returncode == ExitCode.REFUSED
        code = ExitCode.REFUSED if refused else ExitCode.HEAD_LOST
        return LaunchError(f"the connection to the head has ended{last}", code)
