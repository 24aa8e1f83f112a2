"""One embedded cluster for all tests of this folder that need one."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rayhpc


@pytest.fixture(scope="session")
def _cluster() -> Iterator[None]:
    rayhpc.init(num_cpus=4, num_gpus=2, resources={"disk": 2}, namespace="tests")
    yield
    rayhpc.shutdown()


@pytest.fixture
def ray(_cluster: None) -> Any:
    """rayhpc, with a cluster of four CPUs and two GPUs."""
    return rayhpc


@pytest.fixture
def run_program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program of its own in a new interpreter."""

    def run(
        text: str, env: dict[str, str] | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        import os

        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(text)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return run
