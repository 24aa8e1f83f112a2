"""Runs programs of other people's libraries as a user would: `rayhpc run -- python program.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Guest = Callable[[str], str]
REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    """Runs Python code, which says `import ray`, on a cluster; its output."""

    def run(code: str) -> str:
        file = tmp_path / "guest.py"
        file.write_text(textwrap.dedent(code))
        before = [os.environ.get("PYTHONPATH", ""), str(REPOSITORY)]
        rayhpc = [sys.executable, "-m", "rayhpc.cli.main", "run", "--quiet", "--num-cpus", "2"]
        done = subprocess.run(
            [*rayhpc, "--as-ray", "--", sys.executable, str(file)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(x for x in before if x)},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    return run
