"""Runs programs as `rayhpc run` would start them, without a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from rayhpc.compat import shim

Program = Callable[..., str]
REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Runs Python code in the environment of a served program; its output.

    `as_ray` is what `--as-ray` says, `path` further folders of PYTHONPATH.
    """

    def run(code: str, as_ray: bool | None = None, path: tuple[Path, ...] = ()) -> str:
        file = tmp_path / "program.py"
        file.write_text(textwrap.dedent(code))
        before = [*map(str, path), os.environ.get("PYTHONPATH", ""), str(REPOSITORY)]
        start = {**os.environ, "PYTHONPATH": os.pathsep.join(x for x in before if x)}
        done = subprocess.run(
            [sys.executable, str(file)],
            env=shim.environment(start, as_ray),
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def real_ray(tmp_path: Path) -> Path:
    """A folder in which something that looks like the real Ray is installed."""
    folder = tmp_path / "installed"
    package = folder / "ray"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "2.9.9"\nfrom ray import inner\n')
    (package / "inner.py").write_text("import ray\n\nNAME = ray.__name__\n")
    distribution = folder / "ray-2.9.9.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: ray\nVersion: 2.9.9\n")
    return folder
