"""The step that `rayhpc run` starts for itself, in every kind of allocation."""

from __future__ import annotations

import pytest

from rayhpc.batch.slurm.step import step_command
from rayhpc.batch.slurm.version import SlurmVersion
from rayhpc.exit_codes import LaunchError
from tests.slurm.user import User

BATCH = {
    "SLURM_JOB_ID": "7",
    "ENVIRONMENT": "BATCH",
    "SLURM_JOB_NUM_NODES": "4",
    "SLURM_JOB_CPUS_PER_NODE": "4(x4)",
    "SLURM_TASKS_PER_NODE": "2(x4)",
    "SLURM_CPUS_PER_TASK": "2",
}
NEW, OLD = SlurmVersion(22, 5, 8), SlurmVersion(18, 8, 9)


def step(environ: dict[str, str], version: SlurmVersion = NEW, **more: bool) -> str | None:
    found = step_command(
        environ,
        ["rayhpc", "run"],
        version=lambda: version,
        which=lambda name: f"/usr/bin/{name}",
        terminal=more.get("terminal", False),
    )
    return None if found is None else " ".join(found)


def test_one_task_a_node_with_all_of_its_processors() -> None:
    assert step(BATCH) == (
        "env -u SLURM_CPUS_PER_TASK /usr/bin/srun --no-kill --kill-on-bad-exit=0 --wait=0 "
        "--mpi=none --export=ALL --overlap --nodes=4 --ntasks=4 --ntasks-per-node=1 "
        "--cpus-per-task=4 rayhpc run"
    )


def test_an_old_slurm_knows_no_overlap() -> None:
    found = step(BATCH, OLD)
    assert found is not None
    assert "--overlap" not in found


def test_nodes_of_different_sizes_are_not_bound() -> None:
    found = step({**BATCH, "SLURM_JOB_CPUS_PER_NODE": "4(x3),8"})
    assert found is not None
    assert "--cpu-bind=none" in found
    assert "--cpus-per-task" not in found


def test_gpus_by_the_task_become_gpus_by_the_node() -> None:
    found = step({**BATCH, "SLURM_GPUS_PER_TASK": "a100:1"})
    assert found is not None
    assert "-u SLURM_GPUS_PER_TASK" in found
    assert "--gpus-per-node=a100:2" in found


def test_components_become_one_step() -> None:
    environ = {**BATCH, "SLURM_HET_SIZE": "3"}
    assert "--het-group=0-2 --ntasks-per-node=1" in str(step(environ))
    assert "--pack-group=0-2" in str(step(environ, OLD))


def test_a_terminal_goes_along() -> None:
    assert "--pty rayhpc" in str(step(BATCH, terminal=True))


def test_where_no_step_is_needed() -> None:
    assert step({}) is None
    assert step({**BATCH, "SLURM_JOB_NUM_NODES": "1"}) is None
    assert step({**BATCH, "SLURM_STEP_ID": "0"}) is None


def test_where_one_is_needed_all_the_same() -> None:
    salloc = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_CPUS_PER_NODE": "3"}
    assert "--nodes=1 --ntasks=1" in str(step(salloc))
    in_shell = {**BATCH, "SLURM_STEP_ID": "0", "SLURM_NTASKS": "1", "SLURM_PTY_PORT": "4"}
    assert "-u SLURM_PTY_PORT" in str(step(in_shell))
    interactive_step = {**BATCH, "SLURM_STEP_ID": "4294967290"}
    assert step(interactive_step) is not None


def test_without_srun_it_says_so() -> None:
    with pytest.raises(LaunchError, match="srun is not on PATH"):
        step_command(BATCH, ["x"], version=lambda: NEW, which=lambda name: None)


SCRIPT = """#!/bin/bash
#SBATCH --nodes=3 --ntasks-per-node=2 --cpus-per-task=2 --output=out --error=err
python - <<'END'
import os
from rayhpc.batch.slurm.step import step_command
show = ["bash", "-c", "echo $SLURM_PROCID/$SLURM_NTASKS $SLURM_LOCALID $SLURM_CPUS_ON_NODE"]
command = step_command(os.environ, show)
os.execvp(command[0], command)
END
"""


def test_slurm_understands_it(user: User) -> None:
    user.write("job.sh", SCRIPT)
    assert user.batch("job.sh") == 0
    text = (user.directory / "out").read_text()
    assert sorted(text.splitlines()) == ["0/3 0 4", "1/3 0 4", "2/3 0 4"]
