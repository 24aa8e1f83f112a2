"""What has been answered to this process's questions, for as long as somebody waits for it.

Filled by `core`, in the leading thread; read by `questions`.
"""

from __future__ import annotations

from typing import Any


class Answers:
    """Answers by the number (token) of their question."""

    def __init__(self) -> None:
        self._expected: set[int] = set()
        self._there: dict[int, Any] = {}

    def expect(self, token: int) -> None:
        """Somebody waits for the answer to this question."""
        self._expected.add(token)

    def add(self, message: Any) -> None:
        """An answer; one that nobody waits for any more is dropped."""
        if message.token in self._expected:
            self._there[message.token] = message

    def __contains__(self, token: int) -> bool:
        return token in self._there

    def __len__(self) -> int:
        return len(self._expected) + len(self._there)

    def take(self, token: int) -> Any:
        """The answer, or None if there is none; nobody waits for it any more."""
        self._expected.discard(token)
        return self._there.pop(token, None)
