"""The command `ray` on the PATH of a program that rayhpc runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.compat import shim
from rayhpc.exit_codes import ExitCode
from tests.cli.conftest import home as home
from tests.cli.conftest import shell as shell
from tests.cli.shell import Shell

ROOT = Path(__file__).parents[2]


def _ray(*words: str, as_ray: bool | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environ = shim.environment({**os.environ, "PYTHONPATH": path}, as_ray)
    program = shutil.which("ray", path=environ["PATH"])
    assert program is not None
    return subprocess.run(
        [program, *words], env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_its_version_is_that_of_ray_served_by_rayhpc() -> None:
    assert _ray("--version").stdout == f"ray, version {shim.RAY_VERSION} (served by rayhpc)\n"


def test_a_cluster_with_the_words_of_ray(shell: Shell) -> None:
    done = _ray(
        *("start", "--head", "--port=0", "--num-cpus=1", "--node-ip-address=127.0.0.1"),
        *("--dashboard-host", "0.0.0.0", "--include-dashboard=false", "--disable-usage-stats"),
    )
    assert done.returncode == 0, done.stderr
    assert "--dashboard-host, --include-dashboard, --disable-usage-stats" in done.stderr
    assert "without effect" in done.stderr
    (head,) = shell.sessions()
    assert head.address in _ray("status").stdout
    (node,) = json.loads(_ray("list", "nodes", "--json").stdout)
    assert node["state"] == "ALIVE"
    assert "0 objects" in _ray("memory").stdout
    assert _ray("stop", "--force", "--grace-period", "10").returncode == 0
    assert shell.sessions() == []


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["stack"], "py-spy"),
        (["job", "submit", "--", "python", "x.py"], "rayhpc submit"),
        (["dashboard", "x"], "rayhpc status"),
    ],
)
def test_what_is_not_served_says_what_to_use(words: list[str], instead: str) -> None:
    done = _ray(*words)
    assert done.returncode == ExitCode.CONFIGURATION
    assert instead in done.stderr


@pytest.mark.parametrize("command", ["up", "down", "get_head_ip", "rsync_up"])
def test_the_cluster_launcher_is_rayhpcs(command: str) -> None:
    done = _ray(command, "no-such-file.yaml")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "no-such-file.yaml: No such file or directory" in done.stderr


def test_a_command_that_is_none() -> None:
    done = _ray("strat")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "did you mean 'start'" in done.stderr


def test_the_real_command_wins_unless_rayhpc_is_to_serve(tmp_path: Path) -> None:
    real = tmp_path / "ray"
    real.write_text("#!/bin/sh\n")
    real.chmod(0o755)
    start = {"PATH": f"{tmp_path}:/usr/bin"}
    assert shutil.which("ray", path=shim.environment(start, None)["PATH"]) == str(real)
    ours = shutil.which("ray", path=shim.environment(start, True)["PATH"])
    assert ours == f"{shim.COMMAND_FOLDER}/ray"
    again = shim.environment(shim.environment(start, True), False)
    assert again == {**start, "RAYHPC_AS_RAY": "0"}


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_program_and_its_tasks_find_it(home: Path, nodes: int) -> None:
    """Under `submit`, which runs `run` on each node."""
    program = home / "program.py"
    program.write_text(
        "import subprocess\n"
        "import ray\n"
        "ray.init()\n"
        "print(subprocess.check_output(['ray', '--version'], text=True))\n"
        "look = ray.remote(lambda: subprocess.check_output(['ray', '--version'], text=True))\n"
        "print(ray.get(look.options(scheduling_strategy='SPREAD').remote()))\n"
        "print(subprocess.check_output(['ray', 'status'], text=True))\n"
    )
    command = ["submit", "--scheduler", "local", "--nodes", str(nodes), "--cpus-per-node", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "rayhpc.cli.main", *command, "--", sys.executable, str(program)],
        env={**os.environ, "RAYHPC_JOBS": str(home / "jobs"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("served by rayhpc") == 2
    assert f", {nodes} node" in done.stdout
