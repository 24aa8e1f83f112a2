"""What the provider has SLURM's programs do, with a controller that is a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.providers.base import CapacityError, ClusterFacts, ProviderError, RefusedError
from rayhpc.providers.slurm.provider import SlurmProvider

WORKER = NodeType("worker", max_nodes=8)


class Controller:
    """SLURM's programs, which note their words and say what they are told to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "log"
        for name in ("sbatch", "scontrol", "scancel", "squeue"):
            script = folder / name
            script.write_text(
                f'#!/bin/bash\nprintf "%s" {name} >>{self._log}; printf " %s" "$@" >>{self._log}\n'
                f"echo >>{self._log}\n"
                f"[ -e {folder}/{name}.out ] && cat {folder}/{name}.out\n"
                f"[ -e {folder}/{name}.err ] && cat {folder}/{name}.err >&2 && exit 1\nexit 0\n"
            )
            script.chmod(0o755)
        self.says("sbatch", "12")

    def says(self, program: str, text: str) -> None:
        (self._folder / f"{program}.out").write_text(text + "\n")

    def fails(self, program: str, text: str) -> None:
        (self._folder / f"{program}.err").write_text(text + "\n")

    def heard(self) -> list[str]:
        """What was run since the last time."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        self._log.write_text("")
        return lines


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return Controller(tmp_path)


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


def test_what_rayhpc_decides_no_type_may(slurm: Controller, tmp_path: Path) -> None:
    facts = ClusterFacts("c", "10.0.0.1:7", tmp_path / "key", tmp_path, "/tmp")
    with pytest.raises(OptionError, match="node type a: --array is set by rayhpc"):
        SlurmProvider(facts, [NodeType("a", options={"array": "1-3"})])
    SlurmProvider(facts, [NodeType("a", options={"partition": "p", "gpus_per_node": 2})])
