"""For every test: Ctrl-C means what it means at a terminal, and sessions of others are not seen.
Property tests take the same examples in every run; `--hypothesis-profile=default` draws new ones.

A shell that starts the suite in the background has it ignore SIGINT, and with it every program
that the tests start.  And `init()` would join a cluster that somebody has made by hand here.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

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
# A change is not to be refused for what a new example finds in code that it does not touch, nor
# for how long the machine takes for one.
settings.register_profile(
    "suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")
