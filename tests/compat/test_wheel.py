"""The shim's files survive every way of packing the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
FILES = (
    "rayhpc/compat/path/ray/__init__.py",
    "rayhpc/compat/metadata/ray-2.58.0.dist-info/METADATA",
    "rayhpc/compat/metadata/ray-2.58.0.dist-info/RECORD",
    "rayhpc/compat/metadata/ray-2.58.0.dist-info/top_level.txt",
)


def build(source: Path, kind: str, folder: Path) -> Path:
    """Build a wheel or an sdist; the file."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: pip install hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(REPOSITORY, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, as pip does where there is no wheel."""
    source = tmp_path_factory.mktemp("source")
    with tarfile.open(sdist) as archive:
        archive.extractall(source, filter="data")
    return build(next(source.iterdir()), "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip has installed it into."""
    target = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    where = ["--no-compile", "--target", str(target)]
    subprocess.run([*install, *where, str(wheel)], check=True, timeout=60)
    return target


def test_the_wheel_holds_the_shim_and_no_top_level_ray(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert set(FILES) <= set(names)
    assert {x.split("/")[0] for x in names if ".dist-info" not in x.split("/")[0]} == {"rayhpc"}


def test_the_wheel_holds_every_job_script_and_example(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    scripts = {f"rayhpc/job_scripts/{x.name}" for x in (REPOSITORY / "slurm").glob("*.sh")}
    assert scripts
    assert scripts <= set(names)
    assert "rayhpc/examples/addresses.py" in names
    mode = zipfile.ZipFile(wheel).getinfo("rayhpc/compat/bin/ray").external_attr >> 16
    assert mode & 0o111 == 0o111


def test_the_wheel_names_its_license_and_carries_it(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [x for x in archive.namelist() if re.fullmatch(r"rayhpc-[^/]*/METADATA", x)]
    assert "License-Expression: Apache-2.0" in archive.read(metadata).decode()
    (license_file,) = [x for x in archive.namelist() if x.endswith("licenses/LICENSE")]
    assert "Apache License" in archive.read(license_file).decode()


def test_an_installed_wheel_shows_a_job_script(installed: Path, tmp_path: Path) -> None:
    show = "from rayhpc.cli.main import main; main(['template', 'show', 'ray_job'])"
    done = subprocess.run(
        [sys.executable, "-c", show],
        env={"PYTHONPATH": str(installed), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.stdout == (REPOSITORY / "slurm" / "ray_job.sh").read_text(), done.stderr


def test_an_installed_wheel_serves_ray(installed: Path, tmp_path: Path) -> None:
    assert not (installed / "ray").exists()
    code = (
        "import importlib.metadata as m, os, subprocess, sys\n"
        "from rayhpc.compat import shim\n"
        "assert shim.PACKAGE_FOLDER.startswith(sys.argv[1]), shim.PACKAGE_FOLDER\n"
        "environ = shim.environment(os.environ, True)\n"
        "code = 'import ray, importlib.metadata as m; print(ray.__version__, m.version(\"ray\"))'\n"
        "subprocess.run([sys.executable, '-c', code], env=environ, check=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(installed)],
        env={"PYTHONPATH": str(installed), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.stdout.split() == ["2.58.0", "2.58.0"], done.stderr
