"""The page's script and style are what their sources and the pinned lock file make of them."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "dashboard"
STATIC = ROOT / "rayhpc/observe/static"
FILES = ("report.css", "report.js")


def test_the_static_files_are_the_output_of_the_sources(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine: the bundle cannot be built again to compare")
    work = tmp_path / "dashboard"
    shutil.copytree(SOURCES, work, ignore=shutil.ignore_patterns("node_modules"))
    installed = SOURCES / "node_modules"
    if (installed / ".package-lock.json").exists():
        (work / "node_modules").symlink_to(installed)
    else:
        done = _run(["npm", "ci", "--ignore-scripts"], work)
        if done.returncode:
            pytest.skip(f"the packages of the lock file cannot be had here: {done.stderr[-300:]}")
    for command in (["npx", "tsc", "--noEmit"], ["node", "build.mjs", str(tmp_path / "out")]):
        done = _run(command, work)
        assert done.returncode == 0, done.stdout + done.stderr
    for name in FILES:
        assert (tmp_path / "out" / name).read_bytes() == (STATIC / name).read_bytes(), name


def test_the_bundle_is_small() -> None:
    size = sum(len(gzip.compress((STATIC / name).read_bytes())) for name in FILES)
    assert size < 300_000


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=110, check=False
    )
