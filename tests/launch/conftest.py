"""What the tests of starting and ending share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.machine import scratch
from tests.launch.ranks import Ranks


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A private directory whose name is short enough for sockets beneath it."""
    path = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def environ(short_tmp: Path) -> dict[str, str]:
    """An environment whose sessions lie in a directory of the test's own."""
    return {scratch.VARIABLE: str(short_tmp)}


@pytest.fixture
def ranks(short_tmp: Path, environ: dict[str, str]) -> Iterator[Ranks]:
    made = Ranks(short_tmp, environ)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
