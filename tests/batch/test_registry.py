"""Where batch systems come from: ours, and a package that a site installs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rayhpc.batch import registry
from rayhpc.batch.detect import around
from rayhpc.batch.system import BatchSystem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
SITE = Path(__file__).parent / "site"


def test_ours_are_declared_as_a_site_declares_its_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"][registry.GROUP]
    assert declared == {name: f"rayhpc.batch.{name}.system:SYSTEM" for name in registry.OURS}


@pytest.mark.parametrize("name", registry.OURS)
def test_each_says_who_it_is(name: str) -> None:
    found = registry.system(name)
    assert isinstance(found, BatchSystem)
    assert found.name == name
    assert found.title
    assert not found.is_inside({})
    assert found.job_id({}) == ""
    assert found.step_command({}, ["rayhpc"]) is None


def test_ranks_find_theirs_without_the_submit_side() -> None:
    """What every rank of every job imports is small."""
    code = """
        import sys
        from rayhpc.batch.detect import around
        assert around({}).name == "local"
        loaded = [name for name in sys.modules if "slurm" in name or "yarn" in name]
        assert not loaded, loaded
        assert around({"SLURM_JOB_ID": "7"}).name == "slurm"
        heavy = [name for name in sys.modules if name.startswith("rayhpc.batch.") and "job" in name]
        assert not heavy, heavy
        others = {"importlib.metadata", "jinja2", "click", "email"} & set(sys.modules)
        assert not others, others
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "environ"),
    [
        ("slurm", {"SLURM_JOB_ID": "7"}),
        ("slurm", {"SLURM_JOBID": "7"}),
        ("sge", {"JOB_ID": "7", "SGE_TASK_ID": "undefined"}),
        ("pbs", {"PBS_JOBID": "7.pbs", "PBS_NODEFILE": "/nodes"}),
        ("yarn", {"CONTAINER_ID": "container_1_1_1_1", "NM_HOST": "here"}),
    ],
)
def test_each_is_found_by_the_least_it_sets(name: str, environ: dict[str, str]) -> None:
    assert around(environ).name == name


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that pip has installed the site's package into."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--target", str(target), str(SITE)),
        ],
        check=True,
        timeout=100,
    )
    return target


def rayhpc(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = f"{installed}:{ROOT}"
    environ = {**os.environ, "PYTHONPATH": path, "RAYHPC_JOBS": str(cwd / "jobs")}
    return subprocess.run(
        [sys.executable, "-m", "rayhpc.cli.main", *words],
        env={**environ, "ACME_QUEUE": str(cwd / "queue")},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_site_brings_its_own(installed: Path, tmp_path: Path) -> None:
    """Chosen by itself, with its option, its template, its words and its facts."""
    job = ["--nodes", "1", "--acme", "--colour=red", "--", "sh", "-c", "echo $ACME_JOB; exit 3"]
    done = rayhpc(installed, tmp_path, "submit", *job)
    assert done.returncode == 3, done.stderr
    assert done.stdout == "a1\n"
    assert "scheduler acme (ACME_QUEUE is set" in done.stderr
    script = (tmp_path / "queue" / "a1").read_text()
    assert "#ACME --colour=red" in script
    (row,) = json.loads(rayhpc(installed, tmp_path, "jobs", "--json").stdout)
    assert (row["id"], row["scheduler"], row["status"]["exit_code"]) == ("a1", "acme", 3)
    inside = "from rayhpc.batch.detect import around; print(around({'ACME_JOB': 'a1'}).title)"
    shown = subprocess.run(
        [sys.executable, "-c", inside],
        env={**os.environ, "PYTHONPATH": f"{installed}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stdout == "Acme\n"


def test_a_broken_package_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "broken-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[rayhpc.batch]\nbroken = no_such_module:SYSTEM\n")
    said = "the batch system 'broken' (no_such_module:SYSTEM) cannot be used"
    done = rayhpc(tmp_path, tmp_path, "submit", "--", "true")
    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    done = rayhpc(tmp_path, tmp_path, "submit", "--scheduler", "broken", "--", "true")
    assert done.returncode == 78
    assert said in done.stderr
