"""Reports that are made after their job's exit code is known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayhpc.batch import folder as job_folders
from rayhpc.batch.folder import JobFolder, JobRecord, Summary
from rayhpc.cli import late_report
from rayhpc.launch import report_process
from rayhpc.observe import recording
from tests.observe.generator import Made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobFolder:
    """A job of two minutes, whose launcher left no report."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    made = Made()
    made.run("train", 0.0, 120.0)
    found = job_folders.create(tmp_path)
    found.set_record(JobRecord("slurm", "train", ["python", "train.py"], 1, 1.0))
    found.set_id("7")
    found.set_summary(Summary(0, 1.0, 121.0))
    recording.write(made.recording(), found.recording)
    return found


def test_it_is_made_in_the_background_by_a_process_that_gives_way(
    folder: JobFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    process = late_report.begin(folder)
    assert process is not None
    assert f"its report will be in {folder.report}" in capsys.readouterr().err
    assert os.getsid(process.pid) == process.pid
    nice = os.getpriority(os.PRIO_PROCESS, process.pid)
    assert nice == min(19, os.getpriority(os.PRIO_PROCESS, 0) + report_process.NICE)
    assert process.wait(60) == 0
    assert "train" in folder.report.read_text()
    assert late_report.begin(folder) is None  # it is there
    # The job ran again, and this is of its first run.
    os.utime(folder.report, (1.0, 1.0))
    assert late_report._is_due(folder)


def test_it_ends_by_itself(folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_process, "MOST_S", 0.3)
    folder.recording.unlink()
    os.mkfifo(folder.recording)  # it would read for ever
    process = report_process.start(folder.recording, folder.report, in_background=True)
    assert process.wait(60) == -14


def test_inside_another_job_it_is_only_named(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert late_report.begin(folder) is None
    assert "`rayhpc report 7` makes its report" in capsys.readouterr().err


def test_a_short_job_and_one_without_a_recording_have_none(folder: JobFolder) -> None:
    folder.set_summary(Summary(0, 1.0, 60.0))
    assert late_report.begin(folder) is None
    folder.set_summary(Summary(0, 1.0, 121.0))
    folder.recording.unlink()
    assert late_report.begin(folder) is None
