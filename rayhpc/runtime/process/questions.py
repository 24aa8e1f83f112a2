"""Questions to the head, to raylets and to other processes: one, or several at once.

Part of every driver and worker (`client`).  The caller waits for the answer; silent peers hold user
code up no longer than the timeout it gives.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rayhpc.exceptions import GetTimeoutError, RaySystemError
from rayhpc.runtime.process.answers import ENDED
from rayhpc.runtime.process.core import Core
from rayhpc.runtime.process.loop import Loop
from rayhpc.wire.address import HEAD, Address, describe, process_of
from rayhpc.wire.messages import cluster

Asked = list[tuple[Address, Any]]


class PeerEndedError(RaySystemError):
    """The process that was asked has ended."""


class Questions:
    """What one process asks others.

    Args:
        core: receives the answers.
        loop: sends and waits.
    """

    def __init__(self, core: Core, loop: Loop) -> None:
        self._core = core
        self._loop = loop

    def ask(self, address: Address, question: Any, kind: Any, timeout: float | None = 30.0) -> Any:
        """Ask the head, a raylet or a process; the answer is decoded as `kind`.

        Raises:
            GetTimeoutError: no answer within `timeout` seconds.
            PeerEndedError: the process we asked has ended.
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
            PeerEndedError: the process we asked has ended.
        """
        answers = self._core.answers
        try:
            with self._loop.lead():
                self._send(address, message, token)
            self._loop.wait_until(lambda: token in answers, timeout)
        finally:
            answer = answers.take(token)
        if answer is None:
            raise GetTimeoutError(
                f"No answer from {describe(address)} within {timeout} s; `rayhpc status` shows "
                "who is alive."
            )
        if answer is ENDED:
            raise PeerEndedError(f"{describe(address)} has ended.")
        return answer

    def _send(self, address: Address, message: msgspec.Struct, token: int) -> None:
        """Send a question; if the process ends before it answers, that is noticed."""
        self._core.answers.expect(token, address)
        if process_of(address):
            self._core.ownership.watch(address)
        self._loop.transport.send(address, message)

    def ask_all(self, asked: Asked, timeout: float) -> dict[Address, bytes]:
        """The answers of these within `timeout` seconds; those that do not answer are left out."""
        there = self._core.answers
        tokens: dict[int, Address] = {}
        with self._loop.lead():
            for address, question in asked:
                token = self._core.new_token()
                tokens[token] = address
                self._send(address, cluster.Request(token, question), token)
        answers: dict[Address, bytes] = {}
        try:
            self._loop.wait_until(lambda: all(x in there for x in tokens), timeout)
        finally:
            for token, address in tokens.items():
                reply = there.take(token)
                if reply is not None and reply is not ENDED and not reply.error:
                    answers[address] = reply.data
        return answers
