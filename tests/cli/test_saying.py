"""Sentences to the user: whole lines in a log, broken between words at a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from rayhpc.cli.saying import wrapped

_RAYHPC = [sys.executable, "-m", "rayhpc.cli.main"]


def test_words_and_paths_stay_whole() -> None:
    path = "/home/" + "x" * 80
    text = wrapped(f"rayhpc: the key of the cluster is not in {path}: copy it there or pipe", 40)
    assert path in text
    assert all(len(line) <= 40 or path in line for line in text.split("\n"))
    assert text.replace("\n", " ").startswith("rayhpc: the key of the cluster is not in /home/")
    assert wrapped("one\ntwo", 80) == "one\ntwo"


def test_a_log_has_one_line_for_a_sentence(home: Path) -> None:
    done = subprocess.run([*_RAYHPC, "status"], capture_output=True, text=True, check=False)
    assert len(done.stderr.splitlines()) == 1


def test_at_a_terminal_no_line_is_longer_than_it(home: Path) -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "COLUMNS": "60"}
    done = subprocess.run([*_RAYHPC, "status"], stderr=theirs, env=environ, check=False)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert done.returncode != 0
    lines = shown.split("\r\n")
    assert len(lines) > 2
    assert all(len(line) <= 60 for line in lines)


def test_no_jobs_are_no_error(tmp_path: Path) -> None:
    command = [*_RAYHPC, "jobs", "--job-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rayhpc submit" in done.stdout
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == []
