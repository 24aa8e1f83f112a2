"""Every program's observations on rayhpc are those on the real Ray."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from pathlib import Path

import pytest

from rayhpc.compat import shim
from tests.conformance import differences, running

REPOSITORY = Path(__file__).parent.parent.parent
CASES = [(name, case) for name in running.names() for case in running.expected(name) if case]


@functools.cache
def observed(name: str) -> dict[str, list[str]]:
    """What rayhpc makes of a program."""
    path = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    start = {**os.environ, "PYTHONPATH": os.pathsep.join(x for x in path if x)}
    with tempfile.TemporaryDirectory() as folder:
        environ = shim.environment(start, True)
        return running.by_case(running.run(sys.executable, name, environ, Path(folder)))


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{x}-{y}" for x, y in CASES])
def test_as_the_real_ray(name: str, case: str) -> None:
    theirs = differences.as_rayhpc(name, case, running.expected(name)[case])
    assert observed(name).get(case) == theirs


@pytest.mark.parametrize("name", running.names())
def test_every_case_has_its_expectation(name: str) -> None:
    assert set(observed(name)) == set(running.expected(name))
