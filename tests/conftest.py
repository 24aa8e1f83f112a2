"""For every test: Ctrl-C means what it means at a terminal, and sessions of others are not seen.

A shell that starts the suite in the background has it ignore SIGINT, and with it every program
that the tests start.  And `init()` would join a cluster that somebody has made by hand here.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest

from rayhpc.machine import scratch


@pytest.fixture(scope="session", autouse=True)
def _sessions_of_this_suite() -> Iterator[None]:
    # A name short enough for sockets.
    path = tempfile.mkdtemp(prefix="rt-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(scratch.VARIABLE, path)
        patch.delenv("RAYHPC_ADDRESS", raising=False)
        yield
    shutil.rmtree(path, ignore_errors=True)


signal.signal(signal.SIGINT, signal.default_int_handler)
