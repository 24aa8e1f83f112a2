"""What a job's workers call first: only by the name that travels with the job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import rayhpc.runtime
from rayhpc.runtime.process import job_setup
from rayhpc.runtime.worker.job_environment import JobEnvironment
from rayhpc.wire.messages.common import Grant, JobConfig

called: list[str] = []


def prepare() -> None:
    called.append("now")


def take(argument: str) -> None:
    called.append(argument)


def enter(jobs: list[JobConfig]) -> None:
    here = JobEnvironment("")
    for job in jobs:
        here.learn(job)
        here.enter(Grant(1, job.number, {}))


def test_a_worker_calls_it_when_it_enters_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, os.environ.get(variable, "1"))
    called.clear()
    plain = JobConfig(1, 1, "", [], "", [])
    enter([plain])
    assert called == []
    enter([JobConfig(2, 1, "", [], "", [], setup=f"{__name__}:prepare"), plain])
    assert called == ["now"]


def test_what_serves_the_driver_registers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_setup, "_registered", {})
    assert job_setup.registered() == ""
    job_setup.register("some.module:prepare")
    assert job_setup.registered() == "some.module:prepare"
    job_setup.register(f"{__name__}:take", '{"a": "1 2"}')
    job_setup.forget("some.module:prepare")
    called.clear()
    job_setup.run(job_setup.registered())
    assert called == ['{"a": "1 2"}']


def test_the_runtime_names_nothing_that_stands_on_it() -> None:
    """Not as text either, which import-linter does not see."""
    folder = Path(rayhpc.runtime.__file__).parent
    for path in folder.glob("*.py"):
        assert "rayhpc.compat" not in path.read_text(), path.name
