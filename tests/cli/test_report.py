"""Reports at the end of programs, of jobs that have ended, and of clusters that run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import FREE, Shell

PROGRAM = """
import rayhpc as ray
ray.init()
square = ray.remote(lambda x: x * x)
print(sum(ray.get([square.remote(i) for i in range(50)])))
"""
RUN = ["run", "--num-cpus", "1", "--node-ip-address", "127.0.0.1"]
COMMAND = ["--", sys.executable, "-c", PROGRAM]
# The command line with another idea of what is long.
PATCHED = "import rayhpc.launch.report_maker as m; m.{}; from rayhpc.cli.main import main; main()"


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job's folder, as the job's script names it."""
    path = home / "job"
    path.mkdir()
    monkeypatch.setenv("RAYHPC_JOB_DIR", str(path))
    return path


def patched(change: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PATCHED.format(change), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_report_that_is_asked_for_is_written_and_nothing_is_left_beside_it(
    shell: Shell, tmp_path: Path
) -> None:
    done = shell(*RUN, "--report", str(tmp_path / "r.html"), *COMMAND)
    assert (done.returncode, done.stdout) == (0, "40425\n"), done.stderr
    assert f"report in {tmp_path}/r.html" in done.stderr
    assert os.listdir(tmp_path) == ["r.html"]
    assert "50 runs, 0 failed" in (tmp_path / "r.html").read_text()


def test_a_short_job_is_recorded_and_its_report_made_on_demand(shell: Shell, folder: Path) -> None:
    assert shell(*RUN, *COMMAND).returncode == 0
    assert "recording" in os.listdir(folder)
    assert "report.html" not in os.listdir(folder)
    place = folder / "recording"
    shown = json.loads(shell("report", "--recording", str(place), "--json").stdout)
    assert shown["overview"]["tasks"] == 50
    assert shown["overview"]["command"].startswith(sys.executable)
    done = shell("report", "--recording", str(place), "-o", "-")
    assert done.stdout.startswith("<!doctype html>")
    done = shell("report", "--recording", str(place))
    assert (folder / "recording.html").stat().st_mode & 0o777 == 0o600, done.stderr


def test_a_long_job_has_its_report_by_itself_unless_told_otherwise(
    shell: Shell, folder: Path
) -> None:
    long, failing = "LONG_S = 0.0; m.WITHIN_S = 30.0", [*COMMAND[:-1], f"{PROGRAM}\nexit(7)"]
    done = patched(long, *RUN, "--no-report", *failing)
    assert (done.returncode, "report" in done.stderr) == (7, False), done.stderr
    assert {"recording", "report.html"}.isdisjoint(os.listdir(folder))
    done = patched(long, *RUN, *failing)
    assert (done.returncode, done.stdout) == (7, "40425\n"), done.stderr
    assert f"report in {folder}/report.html" in done.stderr
    assert "50 runs" in (folder / "report.html").read_text()


def test_a_report_that_takes_too_long_is_left_and_the_exit_code_comes(
    shell: Shell, folder: Path
) -> None:
    done = patched("LONG_S = 0.0; m.WITHIN_S = 0.0", *RUN, "--", sys.executable, "-c", "exit(3)")
    assert done.returncode == 3
    assert "`rayhpc report` makes it" in done.stderr
    assert "recording" in os.listdir(folder)


def test_a_job_is_named_as_for_every_command(shell: Shell, home: Path) -> None:
    jobs = str(home / "jobs")
    done = shell("submit", "--scheduler", "local", "--job-dir", jobs, *COMMAND)
    assert done.returncode == 0, done.stderr
    done = shell("report", "last", "--job-dir", jobs)
    assert done.returncode == 0, done.stderr
    (made,) = (home / "jobs").glob("*/report.html")
    assert f"report in {made}" in done.stderr
    next((home / "jobs").glob("*/recording")).unlink()
    done = shell("report", "--job-dir", jobs)
    assert done.returncode == 78
    assert "left no recording" in done.stderr


def test_a_cluster_that_runs_is_asked(shell: Shell, tmp_path: Path) -> None:
    record = shell.start(*FREE)
    environ = {**os.environ, "RAYHPC_ADDRESS": record.address}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environ, check=True, timeout=60)
    place = tmp_path / "now.html"
    done = shell("report", "--address", record.address, "-o", str(place))
    assert done.returncode == 0, done.stderr
    assert "50 runs, 0 failed" in place.read_text()
