"""What the tests of ends share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ends.scene import Scene


@pytest.fixture
def base() -> Iterator[Path]:
    """Where sessions lie: a private directory whose name is short enough for sockets beneath it."""
    path = Path(tempfile.mkdtemp(prefix="re-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def scene(base: Path) -> Iterator[Callable[..., Scene]]:
    """Starts programs with clusters; what a failed test leaves of them is ended."""
    made: list[Scene] = []

    def make(how: str, address: str = "local") -> Scene:
        found = Scene(base, how, address)
        made.append(found)
        return found

    yield make
    for each in made:
        each.close()
