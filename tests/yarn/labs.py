"""Real YARNs for tests: one at a time, started once for all tests that want the same.

Used by `conftest`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab_keeper import LabKeeper
from yarn.lab import jars, kerberos
from yarn.lab.errors import LabError
from yarn.lab.jars import DEFAULT_VERSION, VERSIONS
from yarn.lab.lab import Lab, free_net
from yarn.lab.layout import Options

# What takes long runs on one version, on all of them where this variable is set.
SLOW_ON = VERSIONS if os.environ.get("RAYHPC_ALL_HADOOPS") else (DEFAULT_VERSION,)
# Each version with another protection of its RPC: every pair of client and level is met.
PROTECTION = {"3.3.6": "integrity", "3.4.3": "authentication", "3.5.0": "privacy"}


def within(seconds: float) -> pytest.MarkDecorator:
    """A test's own time: the first one on a lab does not pay for its start, which takes a minute on
    a machine that is busy, and is given up by itself.
    """
    return pytest.mark.timeout(seconds, func_only=True)


@contextlib.contextmanager
def lab_of(version: str, **options: object) -> Iterator[Lab]:
    """A lab, up; skips the test where it cannot be had, and says why."""
    reason = jars.why_not(version)
    if not reason and options.get("kerberos"):
        reason = kerberos.why_not()
    if not reason:
        try:
            jars.fetch(version)
        except LabError as error:
            reason = str(error)
    if reason:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="yarnlab-"))
    wanted = Options(hadoop=version, net=free_net(), **options)  # type: ignore[arg-type]
    down = [sys.executable, "-m", "yarn.lab", "down"]
    keeper = LabKeeper(folder, down, {**os.environ, "YARNLAB_RUN": str(folder / "run")})
    try:
        yield Lab.up(folder / "run", wanted)
    finally:
        keeper.end()
