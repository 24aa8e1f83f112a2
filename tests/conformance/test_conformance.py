"""Every program's observations on rayhpc are those on the real Ray."""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import os
import sys
import tempfile
from pathlib import Path

import pytest

from rayhpc.compat import shim
from tests.conformance import differences, running

REPOSITORY = Path(__file__).parent.parent.parent
CASES = [(name, case) for name in running.names() for case in running.expected(name) if case]


# Programs mostly wait: the next one runs beside the one that is looked at.
_POOL = concurrent.futures.ThreadPoolExecutor(2)
_NEXT = dict(itertools.pairwise(running.names()))


def observed(name: str) -> dict[str, list[str]]:
    """What rayhpc makes of a program."""
    current = _started(name)
    if name in _NEXT:
        _started(_NEXT[name])
    return current.result()


@functools.cache
def _started(name: str) -> concurrent.futures.Future[dict[str, list[str]]]:
    return _POOL.submit(_run, name)


def _run(name: str) -> dict[str, list[str]]:
    path = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    start = {**os.environ, "PYTHONPATH": os.pathsep.join(x for x in path if x)}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as base:
        # Sessions of its own: the program beside it may have a cluster that "auto" would find.
        environ = {**shim.environment(start, True), "RAYHPC_TMPDIR": base}
        return running.by_case(running.run(sys.executable, name, environ, Path(folder)))


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{x}-{y}" for x, y in CASES])
def test_as_the_real_ray(name: str, case: str) -> None:
    theirs = differences.as_rayhpc(name, case, running.expected(name)[case])
    assert observed(name).get(case) == theirs


@pytest.mark.parametrize("name", running.names())
def test_every_case_has_its_expectation(name: str) -> None:
    assert set(observed(name)) == set(running.expected(name))
