"""The script of a machine that is a batch job, run with programs that are scripts."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from rayhpc.elastic.types import NodeType
from rayhpc.providers import machine_script
from rayhpc.providers.base import ClusterFacts
from rayhpc.providers.sge import job as sge
from rayhpc.providers.slurm import job as slurm
from rayhpc.wire.feasibility import END_LABEL
from tests.providers.programs import Controller


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    monkeypatch.setattr(machine_script, "OUR_RAYHPC", ["rayhpc"])
    (tmp_path / "key").touch()
    return Controller(tmp_path, "rayhpc", "squeue")


def labels(module: object, folder: Path, kind: NodeType, **environ: str) -> dict[str, str]:
    """The labels of the node that a machine starts."""
    facts = ClusterFacts("c", "10.0.0.1:7", folder / "key", folder, "/tmp")
    script = module.script_for(facts, kind)  # type: ignore[attr-defined]
    path = f"{folder}:{os.environ['PATH']}"
    subprocess.run(["bash", "-c", script, "script", "8"], env={"PATH": path, **environ}, check=True)
    (found,) = re.findall(r"^rayhpc start .* --labels=(\S*)", (folder / "log").read_text(), re.M)
    return dict(each.split("=") for each in found.split(","))


TASK = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_JOB_ID": "12", "SLURM_JOB_ID": "15"}


@pytest.mark.parametrize(
    ("told", "shown", "end"),
    [
        ({"SLURM_JOB_END_TIME": "1700000000"}, "1", "1700000000"),
        ({}, "1700000001", "1700000001"),
        ({}, "NONE", None),
        ({}, "", None),
        ({"end": "7"}, "", None),
    ],
)
def test_a_task_of_an_array_knows_its_own_end(
    programs: Controller, tmp_path: Path, told: dict[str, str], shown: str, end: str | None
) -> None:
    programs.says("squeue", shown)
    found = labels(slurm, tmp_path, NodeType("w", labels={"zone": "a"}), **TASK, **told)
    wanted = {"rayhpc.io/machine": "w-11", "rayhpc.io/node-type": "w", "zone": "a"}
    assert found == wanted | ({END_LABEL: end} if end else {})
    asked = [each for each in programs.heard() if each.startswith("squeue")]
    # Not the job's id: the last task of an array has that of all of them.
    assert asked == ["squeue -h -j 12_3 -o %e"] * ("SLURM_JOB_END_TIME" not in told)


def test_where_the_batch_system_does_not_tell_the_node_type_does(
    programs: Controller, tmp_path: Path
) -> None:
    kind = NodeType("w", life_seconds=600.0)
    left = float(labels(sge, tmp_path, kind, SGE_TASK_ID="1")[END_LABEL]) - time.time()
    assert 500 < left <= 600
    (tmp_path / "log").unlink()
    assert END_LABEL not in labels(sge, tmp_path, NodeType("w"), SGE_TASK_ID="1")
