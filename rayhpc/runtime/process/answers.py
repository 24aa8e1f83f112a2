"""The answers to this process's questions, for as long as someone waits for them.

Filled by `core`, in the leading thread; read by `questions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rayhpc.wire.address import Address

# Instead of an answer: the process we asked has ended.
ENDED = object()


class Answers:
    """Answers by the number (token) of their question."""

    def __init__(self) -> None:
        self._expected: dict[int, Address] = {}
        self._there: dict[int, Any] = {}

    def expect(self, token: int, address: Address) -> None:
        """Someone waits for this process's answer to this question."""
        self._expected[token] = address

    def add(self, message: Any) -> None:
        """Add an answer; one that nobody waits for any more is dropped."""
        if message.token in self._expected:
            self._there[message.token] = message

    def on_peers_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """Processes have ended and will not answer any more."""
        for token, address in list(self._expected.items()):
            if is_gone(address):
                self._there.setdefault(token, ENDED)

    def __contains__(self, token: int) -> bool:
        return token in self._there

    def __len__(self) -> int:
        return len(self._expected) + len(self._there)

    def take(self, token: int) -> Any:
        """The answer, `ENDED`, or None if there is none; nobody waits for it after that."""
        self._expected.pop(token, None)
        return self._there.pop(token, None)
