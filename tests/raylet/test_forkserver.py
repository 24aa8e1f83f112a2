"""The fork server with real processes: what a worker gets, and that nothing outlives its raylet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.raylet.forkserver_scenarios import gone

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run(name: str, folder: Path, expected: int = 0) -> Any:
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}
    done = subprocess.run(
        [sys.executable, str(HERE / "forkserver_scenarios.py"), name, str(folder)],
        env=environ,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == expected, done.stderr
    return json.loads(done.stdout)


def test_a_worker_gets_its_number_streams_and_environment(tmp_path: Path) -> None:
    result = run("life", tmp_path)
    assert result == {
        "same": True,
        "code": 3,
        "output": ["7 yes False\n", "wrong\n"],
        "clean": True,
        "folder": True,
    }


def test_shared_descriptors_have_the_agreed_numbers(tmp_path: Path) -> None:
    result = run("shared", tmp_path)
    assert result == {"output": "[b'arena', b'slots']\n", "clean": True}


def test_a_killed_worker_takes_its_subprocesses_along(tmp_path: Path) -> None:
    assert run("kill", tmp_path) == {"signal": signal.SIGKILL, "child": True, "clean": True}


def test_what_left_its_worker_ends_with_the_session(tmp_path: Path) -> None:
    assert run("orphan", tmp_path) == {"alive": True, "clean": True, "child": True}


def test_nothing_is_left_of_a_killed_raylet(tmp_path: Path) -> None:
    pids = run("raylet_killed", tmp_path, expected=-signal.SIGKILL)
    assert [gone(pid) for pid in pids] == [True, True, True]
    assert not (tmp_path / "session").exists()


def test_workers_end_with_a_killed_server(tmp_path: Path) -> None:
    assert run("server_killed", tmp_path) == {"closed": True, "worker": True}


def test_a_template_has_imported_what_it_was_told(tmp_path: Path) -> None:
    result = run("template", tmp_path)
    assert result == {
        "skipped": ["no_such_module"],
        "status": 0,
        "output": "yes True\n",
        "clean": True,
    }


def test_an_unfit_template_names_the_module(tmp_path: Path) -> None:
    assert run("unfit", tmp_path) == {
        "threaded": "threaded: it started a thread",
        "contexted": "contexted: it made a ZeroMQ context",
        "harmless": ": fit",
        "clean": True,
    }


def test_blas_threads_do_not_make_a_template_unfit(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    result = run("numpy", tmp_path)
    assert result == {"sums": ["262144.0"] * 2, "drawn": True, "clean": True}


def test_a_worker_is_cheap(tmp_path: Path) -> None:
    result = run("cost", tmp_path)
    assert result["private"] < 6 * 1024
    assert result["clean"]


def test_the_jobs_signals_are_left_to_the_raylet_but_not_by_the_users_own_forks(
    tmp_path: Path,
) -> None:
    assert run("signals", tmp_path) == {
        "status": 0,
        "output": ["0", str(-signal.SIGTERM)],
        "clean": True,
    }
