"""The scripts that templates make, letter by letter.

RAYHPC_UPDATE_GOLDEN=1 writes them anew; look at the difference before you keep it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rayhpc.batch import rendering
from rayhpc.batch.folder import JobFolder
from rayhpc.batch.registry import system
from rayhpc.batch.request import JobRequest, check

GOLDEN = Path(__file__).parent / "golden"
FOLDER = JobFolder(Path("/home/ada/jobs/20261124-120000-abcdef"))
WORK = "/home/ada/work"

REQUESTS = {
    "plain": JobRequest(("python", "train.py"), nodes=8, work_dir=WORK),
    "everything": JobRequest(
        ("python", "-u", "train.py", "--name", "Ada's best"),
        nodes=4,
        cpus_per_node=16,
        gpus_per_node="a100:2",
        mem="64G",
        time="1-12",
        partition="gpu,long",
        account="proj 7",
        qos="normal",
        constraint="a100|h100",
        reservation="friday",
        exclusive=True,
        job_name='it\'s a "job"',
        dependency="afterok:12",
        requeue=True,
        no_kill=True,
        output="out-%j.txt",
        modules=("gcc/13", "cuda"),
        setup=("ulimit -n 4096", 'export PATH="$HOME/bin:$PATH"'),
        env={"TOKEN": "a b'c\nd", "EMPTY": ""},
        further={"slurm": ("--licenses=matlab:2", "--comment", "two words")},
        min_nodes=3,
        start_timeout=90.0,
        as_ray=True,
        work_dir=WORK,
    ),
    "array": JobRequest(("bash", "one.sh"), array="0-9%3", requeue=False, work_dir=WORK),
    "apptainer": JobRequest(
        ("python", "train.py"), 2, container="my image.sif", gpus_per_node="4", work_dir=WORK
    ),
    "pyxis": JobRequest(
        ("python", "train.py"), 2, container="nvcr.io#nvidia/pytorch:24.05-py3", work_dir=WORK
    ),
    "conda": JobRequest(("python", "train.py"), 2, conda="torch", work_dir=WORK),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_slurm_script(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "OUR_RAYHPC", ["/opt/rayhpc/bin/rayhpc"])
    monkeypatch.setattr(rendering, "_missing_on_path", lambda: None)
    script = system("slurm").jobs().render(check(REQUESTS[name]), FOLDER)
    path = GOLDEN / f"{name}.sh"
    if os.environ.get("RAYHPC_UPDATE_GOLDEN"):
        path.write_text(script)
    assert script == path.read_text()
    parsed = subprocess.run(
        ["bash", "-n"], input=script, text=True, capture_output=True, check=False
    )
    assert (parsed.returncode, parsed.stderr) == (0, "")
