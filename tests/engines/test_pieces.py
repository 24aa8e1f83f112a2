"""What is decided before a real Ray starts; needs none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.engines import ray_install, ray_plan
from rayhpc.machine.gpus import Gpus
from tests.engines.conftest import RAYHPC


def _python(folder: Path, version: str) -> dict[str, str]:
    """An environment whose `python` says that it has this Ray."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\necho \'["{version}", "3.12"]\'\n')
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_the_programs_own_interpreter_is_asked(tmp_path: Path) -> None:
    found = ray_install.find(["python", "tune.py"], _python(tmp_path, "2.60.1"))
    assert found == ray_install.RayInstall(str(tmp_path / "python"), "2.60.1", "3.12")
    named = [str(tmp_path / "python"), "x.py"]
    assert ray_install.find(named, {"PATH": "/nowhere"}).version == "2.60.1"
    assert ray_install.find(["./train.sh"], _python(tmp_path, "2.60.1")).version == "2.60.1"


@pytest.mark.parametrize(
    ("version", "words"), [("", "pip install ray"), ("2.9.3", "2.52 or newer is needed")]
)
def test_no_ray_or_an_old_one_is_refused(tmp_path: Path, version: str, words: str) -> None:
    with pytest.raises(LaunchError, match=words) as raised:
        ray_install.find([], _python(tmp_path, version))
    assert raised.value.code == ExitCode.CONFIGURATION


def test_an_interpreter_that_does_not_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    with pytest.raises(LaunchError, match="does not say which Ray"):
        ray_install.find([], {"PATH": str(tmp_path)})


def test_what_leads_to_other_clusters_does_not_reach_ours() -> None:
    theirs = {"RAY_ADDRESS": "a:1", "RAY_AUTH_TOKEN": "x", "RAYHPC_ADDRESS": "b:2", "HOME": "/h"}
    found = ray_plan.without_clusters(theirs)
    assert found == {"HOME": "/h", "RAYHPC_AS_RAY": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def test_gpus_of_amd_are_in_the_variable_that_ray_takes() -> None:
    """Given ROCR_VISIBLE_DEVICES alone, Ray does not start on a node with such GPUs."""
    amd = Gpus(("2", "3"), "rocm", "ROCR_VISIBLE_DEVICES")
    told = {"ROCR_VISIBLE_DEVICES": "2,3"}
    assert ray_plan.with_names_of_ray(told, amd) == {"HIP_VISIBLE_DEVICES": "2,3"}
    hip = Gpus(("0",), "rocm", "HIP_VISIBLE_DEVICES")
    both = {**told, "HIP_VISIBLE_DEVICES": "0"}
    assert ray_plan.with_names_of_ray(both, hip) == both
    # SLURM sets the variables of all makers.
    cuda = {**told, "CUDA_VISIBLE_DEVICES": "2,3"}
    assert ray_plan.with_names_of_ray(cuda, Gpus(("2", "3"))) == cuda


def test_a_run_without_ray_says_how_to_get_it(tmp_path: Path) -> None:
    environ = {**os.environ, **_python(tmp_path, "")}
    done = subprocess.run(
        [*RAYHPC, "run", "--engine", "ray", "--", "python", "-c", "0"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.CONFIGURATION
    assert "-m pip install ray" in done.stderr


@pytest.mark.parametrize("command", ["run", "submit"])
def test_the_real_ray_is_not_served(command: str) -> None:
    done = subprocess.run(
        [*RAYHPC, command, "--engine", "ray", "--as-ray", "--", sys.executable, "-c", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "--engine ray and --as-ray exclude each other" in done.stderr


@pytest.mark.parametrize("where", ["command line", "program", "profile"])
def test_submit_takes_it_from_everywhere(tmp_path: Path, where: str) -> None:
    program = tmp_path / "tune.py"
    program.write_text("#RAYHPC --engine ray\n" if where == "program" else "")
    profiles = tmp_path / "rayhpc" / "profiles"
    profiles.mkdir(parents=True)
    (profiles / "mine.toml").write_text('[submit]\nengine = "ray"\n')
    words = {"command line": ["--engine", "ray"], "profile": ["--profile", "mine"]}.get(where, [])
    done = subprocess.run(
        [*RAYHPC, "submit", "--scheduler", "local", "--dry-run", *words, str(program)],
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--engine ray" in done.stdout


def test_ranks_of_different_engines_are_refused(tmp_path: Path) -> None:
    words = [*RAYHPC, "run", "--rendezvous", str(tmp_path / "meet"), "--size", "2"]
    head, other = (
        subprocess.Popen(
            [*words, "--rank", rank, *more, "--", "python", "-c", "0"],
            env={**os.environ, **_python(tmp_path, "2.60.1")},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, more in (("0", []), ("1", ["--engine", "ray"]))
    )
    said = [each.communicate(timeout=90)[1] for each in (head, other)]
    assert other.returncode == ExitCode.CONFIGURATION
    assert "rank 0 runs with --engine rayhpc, this rank with --engine ray" in said[1]
    assert head.returncode == ExitCode.TOO_FEW_NODES
