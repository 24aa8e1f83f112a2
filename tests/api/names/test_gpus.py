"""GPUs of the far node: which of them a task or an actor gets, under which name and variable."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import rayhpc as ray
from tests.api.actors.counter import wait_for
from tests.api.names.conftest import GPU_IDS
from tests.api.names.naming import Gate, Two, covers, get, here

FIRST, SECOND = GPU_IDS.split(",")
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
)


def mine(gate: Any = None) -> tuple[str | None, list[str], str]:
    """The variable, the ids that the API tells, and the node."""
    if gate is not None:
        ray.get(gate.wait.remote())
    return os.environ.get("CUDA_VISIBLE_DEVICES"), [str(x) for x in ray.get_gpu_ids()], here()


@covers("options: num_gpus", "get_gpu_ids", "GPUs: CUDA_VISIBLE_DEVICES", "GPUs: ids untouched")
def test_each_has_its_own(two: Two) -> None:
    gate = Gate.remote()
    task = ray.remote(num_gpus=1, num_cpus=0)(mine)
    refs = [task.remote(gate) for _ in range(2)]
    wait_for(lambda: get(gate.come.remote()) == 2)
    gate.open.remote()
    assert sorted(get(refs)) == sorted((x, [x], two.far) for x in (FIRST, SECOND))
    both = get(task.options(num_gpus=2).remote())
    assert (sorted(both[1]), both[2]) == (sorted((FIRST, SECOND)), two.far)
    assert both[0] == ",".join(both[1])
    without = ray.remote(mine).options(resources={"far": 0.001})
    assert get(without.remote()) == ("", [], two.far)
    assert ray.get_gpu_ids() == []


@covers("options: num_gpus, fractions", "GPUs: fractions share one")
def test_fractions(two: Two) -> None:
    @ray.remote(num_gpus=0.5, num_cpus=0)
    class Half:
        def mine(self) -> Any:
            return mine()

    halves = [Half.remote() for _ in range(4)]
    found = get([x.mine.remote() for x in halves])
    assert sorted(found) == sorted((x, [x], two.far) for x in (FIRST, SECOND) * 2)
    wait_for(lambda: "GPU" not in ray.available_resources())


@pytest.mark.parametrize(
    ("variable", "given"),
    [
        ("HIP_VISIBLE_DEVICES", "2,5"),
        ("ROCR_VISIBLE_DEVICES", "GPU-77aa,GPU-88bb"),
        ("ZE_AFFINITY_MASK", "0.1,1.0"),
    ],
)
@covers("GPUs: ROCR and HIP", "GPUs: Level Zero", "GPUs: ids untouched")
def test_other_kinds(
    two: Two, third: Callable[..., Any], variable: str, given: str, monkeypatch: Any
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, given)
    node = third(num_gpus=2)

    def look() -> tuple[str | None, list[str], str]:
        return os.environ.get(variable), [str(x) for x in ray.get_gpu_ids()], here()

    task = ray.remote(num_gpus=1, num_cpus=0, resources={"third": 0.001})(look)
    text, ids, where = get(task.remote())
    assert text in given.split(",")
    assert (ids, where) == ([text], node.node_id)
    both = get(task.options(num_gpus=2).remote())
    assert sorted(both[1]) == sorted(given.split(","))
