"""Who a rank is, from what its launcher says."""

from __future__ import annotations

import pytest

from rayhpc.batch.detect import detect
from rayhpc.exit_codes import LaunchError
from rayhpc.launch.election import Role, elect
from rayhpc.machine.facts import MachineFacts
from rayhpc.machine.memory import Memory

MACHINE = MachineFacts("n0", 4, frozenset(range(4)), Memory(1 << 30, 1 << 29))
STEP = {
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_ID": "3",
    "SLURM_RESTART_COUNT": "1",
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "4",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x4)",
    "SLURM_STEP_NODELIST": "n[0-3]",
    "SLURMD_NODENAME": "n2",
}


def role(environ: dict[str, str], **told: int) -> Role:
    return elect(detect(environ, MACHINE, **told))


def test_a_machine_alone_is_head() -> None:
    found = role({})
    assert found.is_head
    assert found.is_first_here
    assert (found.size, found.nodes) == (1, 1)


def test_two_ranks_a_node_are_half_as_many_nodes() -> None:
    found = role(STEP)
    assert (found.rank, found.node, found.nodes, found.local_size) == (5, 2, 4, 2)
    assert not found.is_head
    assert not found.is_first_here
    assert found.host(3) == "n3"


def test_the_name_is_of_this_start_alone() -> None:
    names = {
        role(STEP).name,
        role({**STEP, "SLURM_STEP_ID": "4"}).name,
        role({**STEP, "SLURM_RESTART_COUNT": "2"}).name,
        role({**STEP, "SLURM_JOB_ID": "78"}).name,
    }
    assert len(names) == 4
    assert role(STEP).name == role({**STEP, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}).name


def test_explicit_ranks_are_nodes_of_their_own() -> None:
    found = role({}, rank=2, size=3)
    assert (found.node, found.nodes, found.is_first_here) == (2, 3, True)
    assert found.name == role({}, rank=0, size=3).name


def test_containers_of_one_application_have_one_name() -> None:
    def of(container: int) -> str:
        name = f"container_1700000000000_0042_02_{container:06}"
        return role({"CONTAINER_ID": name, "NM_HOST": "n", "RAYHPC_SIZE": "2"}).name

    assert of(1) == of(2)
    assert of(1).endswith(".1")


def test_a_shuffled_rank_0_is_refused() -> None:
    with pytest.raises(LaunchError, match="first"):
        role({**STEP, "SLURM_PROCID": "0"})
