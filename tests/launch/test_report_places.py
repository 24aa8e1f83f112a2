"""Where a run puts its recording and its report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rayhpc.batch.slurm.system import SYSTEM as SLURM
from rayhpc.batch.yarn.system import SYSTEM as YARN
from rayhpc.launch import report_places


def run(system: Any, environ: dict[str, str], report: str | None = None, name: str = "") -> Any:
    place = SimpleNamespace(system=system, job=name.partition(".")[0])
    options, role = SimpleNamespace(report=report), SimpleNamespace(name=name)
    return SimpleNamespace(environ=environ, place=place, options=options, role=role)


def test_a_job_with_a_folder_has_both_there() -> None:
    found = report_places.find(run(SLURM, {"RAYHPC_JOB_DIR": "/j", "SLURM_ARRAY_TASK_ID": "3"}))
    assert found is not None
    assert (found.recording, found.report) == (Path("/j/recording.3"), Path("/j/report.3.html"))
    assert (found.keeps, found.at_any_length, found.waits) == (True, True, False)


def test_one_that_is_asked_for_is_waited_for() -> None:
    found = report_places.find(run(SLURM, {}, report="/r/a.html"))
    assert found is not None
    assert found.report == Path("/r/a.html")
    assert found.waits
    assert not found.keeps


@pytest.mark.parametrize(
    ("start", "name"),
    [("47.0.0", "47"), ("47.1.0", "47.1"), ("47.0.1", "47.0.1")],
)
def test_a_job_of_ones_own_script_has_it_where_it_ran(
    start: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = report_places.find(run(SLURM, {"SLURM_JOB_ID": "47"}, name=start))
    assert found is not None
    assert found.report == tmp_path / f"rayhpc-report-{name}.html"
    assert found.recording == tmp_path / f"rayhpc-report-{name}.recording"
    assert f"--recording rayhpc-report-{name}.recording`" in found.late
    assert (found.keeps, found.at_any_length, found.waits) == (False, False, False)


def test_on_yarn_the_recording_is_where_the_commands_fetch_it() -> None:
    environ = {"LOG_DIRS": "/logs/1,/logs/2", "CONTAINER_ID": "container_1_1_1_1", "NM_HOST": "h"}
    found = report_places.find(run(YARN, environ, name="application_1_1.0.0"))
    assert found is not None
    assert (found.recording, found.report) == (Path("/logs/1/recording"), None)
    # A NodeManager that runs as another user reads it as its group.
    assert found.mode == 0o640


def test_a_program_that_is_no_job_has_none() -> None:
    assert report_places.find(run(SLURM, {})) is None
