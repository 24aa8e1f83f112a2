"""What the provider has SLURM's programs do, with a controller that is a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.providers.base import CapacityError, ClusterFacts, ProviderError, RefusedError
from rayhpc.providers.slurm.job import life_of
from rayhpc.providers.slurm.provider import SlurmProvider
from tests.providers.programs import Controller

WORKER = NodeType("worker", max_nodes=8)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    programs = Controller(tmp_path, "sbatch", "scontrol", "scancel", "squeue")
    programs.says("sbatch", "12")
    return programs


@pytest.fixture
def provider(slurm: Controller, tmp_path: Path) -> SlurmProvider:
    facts = ClusterFacts("rayhpc-5", "10.0.0.1:7", tmp_path / "key", tmp_path, "/tmp")
    return SlurmProvider(facts, [WORKER])


def test_one_array_and_then_its_throttle(slurm: Controller, provider: SlurmProvider) -> None:
    provider.ask(WORKER, ["worker-1"])
    (line,) = slurm.heard()
    assert "--array=1-8%1 " in line
    assert "--job-name=rayhpc-5-worker --comment=rayhpc base=0 size=8 --no-requeue" in line
    provider.ask(WORKER, ["worker-2", "worker-3"])
    provider.ask(WORKER, ["worker-3"])
    assert slurm.heard() == ["scontrol update JobId=12 ArrayTaskThrottle=3"] * 2


def test_the_throttle_goes_down_before_the_machine_goes(
    slurm: Controller, provider: SlurmProvider
) -> None:
    provider.ask(WORKER, ["worker-1", "worker-2"])
    slurm.heard()
    provider.release(["worker-1"])
    assert slurm.heard() == ["scontrol update JobId=12 ArrayTaskThrottle=1", "scancel 12_[1]"]
    # A throttle of 0 would mean: none.
    provider.release(["worker-2"])
    assert slurm.heard() == ["scancel 12"]
    slurm.says("sbatch", "13")
    provider.ask(WORKER, ["worker-3"])
    assert "--comment=rayhpc base=2 size=8" in slurm.heard()[0]


def test_another_process_finds_the_machines(slurm: Controller, provider: SlurmProvider) -> None:
    comment = "rayhpc-5-worker|rayhpc base=0 size=8"
    slurm.says(
        "squeue",
        f"12_1|RUNNING|None|n3|{comment}\n12_[2-8%2]|PENDING|BadConstraints||{comment}",
    )
    found = provider.list()
    assert [(x.name, x.state, x.permanent) for x in found] == [
        ("worker-1", MachineState.RUNNING, False),
        ("worker-2", MachineState.PENDING, True),
    ]
    assert found[0].address == "n3"
    slurm.heard()
    provider.ask(WORKER, ["worker-2", "worker-3"])
    assert slurm.heard() == ["scontrol update JobId=12 ArrayTaskThrottle=3"]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Unable to contact slurm controller (connect failure)", ProviderError),
        ("Job violates accounting/QOS policy (job submit limit)", CapacityError),
        ("invalid partition specified: nope", RefusedError),
    ],
)
def test_a_refusal_is_told_apart(
    slurm: Controller, provider: SlurmProvider, said: str, kind: type[ProviderError]
) -> None:
    slurm.fails("sbatch", f"sbatch: error: {said}")
    with pytest.raises(ProviderError) as caught:
        provider.ask(WORKER, ["worker-1"])
    assert type(caught.value) is kind
    # Where too many at once are refused, as many as are needed may be accepted.
    assert len(slurm.heard()) == (2 if kind is CapacityError else 1)


def test_what_is_too_much_at_once_is_asked_for_in_halves(
    slurm: Controller, provider: SlurmProvider
) -> None:
    slurm.fails("sbatch", "sbatch: error: Invalid job array specification")
    with pytest.raises(CapacityError):
        provider.ask(WORKER, ["worker-1", "worker-2", "worker-3", "worker-4"])
    tried = [line.partition("--array=")[2].split()[0] for line in slurm.heard()]
    assert tried == ["1-8%4", "1-4%4", "1-8%2", "1-2%2", "1-8%1", "1-1%1"]


def test_a_full_disk_is_tried_again(provider: SlurmProvider, tmp_path: Path) -> None:
    (tmp_path / "worker.sh").mkdir()
    with pytest.raises(ProviderError, match="worker.sh: Is a directory"):
        provider.ask(WORKER, ["worker-1"])


@pytest.mark.parametrize(
    "said", ["12_1 (12): Job has already finished", "12_1,3-7: No error", "12_1 (12): No error"]
)
def test_what_is_over_already_does_no_harm(
    slurm: Controller, provider: SlurmProvider, said: str
) -> None:
    provider.ask(WORKER, ["worker-1", "worker-2"])
    slurm.fails("scontrol", said)
    slurm.heard()
    provider.release(["worker-1"])
    assert slurm.heard()[-1] == "scancel 12_[1]"


@pytest.mark.parametrize(
    ("time", "seconds"),
    [(30, 1800.0), ("1:30", 90.0), ("1:0:0", 3600.0), ("2-0", 172800.0), ("1-2:03:04", 93784.0)],
)
def test_a_time_limit_is_a_machines_life(time: object, seconds: float) -> None:
    assert life_of(NodeType("a", options={"time": time})) == seconds
    assert life_of(NodeType("a", options={"time": "UNLIMITED"})) is None


def test_what_rayhpc_decides_no_type_may(slurm: Controller, tmp_path: Path) -> None:
    facts = ClusterFacts("c", "10.0.0.1:7", tmp_path / "key", tmp_path, "/tmp")
    with pytest.raises(OptionError, match="node type a: --array is set by rayhpc"):
        SlurmProvider(facts, [NodeType("a", options={"array": "1-3"})])
    SlurmProvider(facts, [NodeType("a", options={"partition": "p", "gpus_per_node": 2})])
