"""What the tests of the command line share."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.machine import scratch
from tests.cli.shell import Shell


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Directories of the test's own for sessions and keys, with names short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    monkeypatch.setenv(scratch.VARIABLE, str(path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(path / "config"))
    monkeypatch.delenv("RAYHPC_ADDRESS", raising=False)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def shell(home: Path) -> Iterator[Shell]:
    """A user's commands; what they have started is stopped afterwards."""
    made = Shell(home)
    yield made
    made("stop", "--grace", "10")
    for record in made.sessions():
        os.kill(record.pid, signal.SIGKILL)
