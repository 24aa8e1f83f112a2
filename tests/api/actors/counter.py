"""An actor that most tests of actors can use, and how they wait for its end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import rayhpc


@rayhpc.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.count = start

    def increase(self, by: int = 1) -> int:
        self.count += by
        return self.count

    def fail(self) -> None:
        raise KeyError("failed")

    @rayhpc.method(num_returns=2)
    def pair(self) -> tuple[int, int]:
        return self.count, -self.count

    def items(self, n: int) -> Any:
        for i in range(n):
            yield self.count + i

    def pid(self) -> int:
        return os.getpid()

    @staticmethod
    def double(x: int) -> int:
        return 2 * x

    @classmethod
    def name(cls) -> str:
        return cls.__name__

    def own_class(self) -> str:
        found: type = self.__ray_actor_class__  # type: ignore[attr-defined]
        return found.__name__

    def __call__(self, x: int) -> int:
        return self.count * x


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Look until something holds that no message tells of."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        rayhpc.wait([rayhpc.put(None)], timeout=0)
        time.sleep(0.005)
