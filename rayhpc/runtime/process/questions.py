"""Questions to the head, to raylets and to other processes: one, or several to many at once.

A part of every driver and worker (`client`).  Whoever asks waits for the answer; user code is not
held up by others' silence longer than the time it gives.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rayhpc.exceptions import GetTimeoutError, RaySystemError
from rayhpc.runtime.process.core import Core
from rayhpc.runtime.process.loop import Loop
from rayhpc.wire.address import HEAD, Address
from rayhpc.wire.messages import cluster

Asked = list[tuple[Address, Any]]


class Questions:
    """What one process asks others.

    Args:
        core: where the answers come.
        loop: what sends and waits.
    """

    def __init__(self, core: Core, loop: Loop) -> None:
        self._core = core
        self._loop = loop

    def ask(
        self, address: Address, question: Any, kind: Any, timeout: float | None = 30.0
    ) -> Any:
        """Ask the head, a raylet or a process; the answer is decoded as `kind`.

        Raises:
            GetTimeoutError: no answer within `timeout` seconds.
            RaySystemError: the answer is an error.
        """
        token = self._core.new_token()
        reply = self.exchange(address, cluster.Request(token, question), token, timeout)
        if reply.error:
            raise RaySystemError(reply.error)
        return msgspec.msgpack.decode(reply.data, type=kind)

    def ask_head(self, question: Any, kind: Any, timeout: float | None = 30.0) -> Any:
        """`ask` the head."""
        return self.ask(HEAD, question, kind, timeout)

    def exchange(
        self, address: Address, message: msgspec.Struct, token: int, timeout: float | None = 30.0
    ) -> Any:
        """Send a message and wait for the one that answers it (by `token`).

        Raises:
            GetTimeoutError: no answer within `timeout` seconds.
        """
        answers = self._core.answers
        answers.expect(token)
        try:
            self._loop.send(address, message)
            self._loop.wait_until(lambda: token in answers, timeout)
        finally:
            answer = answers.take(token)
        if answer is None:
            raise GetTimeoutError(
                f"No answer from {address} within {timeout} s; `rayhpc status` shows who is alive."
            )
        return answer

    def ask_all(self, asked: Asked, timeout: float) -> dict[Address, bytes]:
        """What all of these answer within `timeout` seconds; who does not is left out."""
        there = self._core.answers
        tokens: dict[int, Address] = {}
        with self._loop.lead():
            for address, question in asked:
                token = self._core.new_token()
                tokens[token] = address
                there.expect(token)
                self._loop.transport.send(address, cluster.Request(token, question))
        answers: dict[Address, bytes] = {}
        try:
            self._loop.wait_until(lambda: all(x in there for x in tokens), timeout)
        finally:
            for token, address in tokens.items():
                reply = there.take(token)
                if reply is not None and not reply.error:
                    answers[address] = reply.data
        return answers
