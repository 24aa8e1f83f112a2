"""A process that cannot answer is looked at from outside."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.launch import py_spy

# Holds its interpreter in compiled code, once it has said so.
STUCK = """
import re, sys
def blocks():
    print("now", flush=True)
    re.match(r"(a+)+$", "a" * 64 + "b")
blocks()
"""


def test_a_process_that_is_stuck_in_compiled_code_is_seen() -> None:
    beside = Path(sys.executable).parent
    if shutil.which("py-spy") is None and shutil.which("py-spy", path=beside) is None:
        pytest.skip("no py-spy here: pip install py-spy")
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert "blocks" in py_spy.dump(process.pid)
        finally:
            process.kill()


def test_without_py_spy_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    assert py_spy.dump(1) == ""


def test_one_that_may_not_look_or_finds_nobody_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "py-spy"
    program.write_text("#!/bin/sh\necho half\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: str(program))
    assert py_spy.dump(1) == ""
