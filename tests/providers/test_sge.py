"""What the provider has Grid Engine's programs do, with a qmaster that is a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.providers.base import CapacityError, ClusterFacts, ProviderError, RefusedError
from rayhpc.providers.sge import job
from rayhpc.providers.sge.provider import SgeProvider
from tests.providers.programs import Controller

WORKER = NodeType("worker", max_nodes=8, options={"q": "all.q", "pe": "smp 4"})


@pytest.fixture
def sge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    monkeypatch.delenv("JOB_ID", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    programs = Controller(tmp_path, "qsub", "qalter", "qdel", "qstat")
    programs.says("qsub", "12.1-8:1")
    return programs


@pytest.fixture
def provider(sge: Controller, tmp_path: Path) -> SgeProvider:
    facts = ClusterFacts("rayhpc-5", "10.0.0.1:7", tmp_path / "key", tmp_path, "/tmp")
    return SgeProvider(facts, [WORKER])


def entry(task: int, state: str, host: str = "", name: str = "rayhpc-5-worker.b0.s8") -> str:
    queue = f"all.q@{host}" if host else ""
    return (
        f"<job_list><JB_job_number>12</JB_job_number><JB_name>{name}</JB_name>"
        f"<state>{state}</state><queue_name>{queue}</queue_name><tasks>{task}</tasks></job_list>"
    )


def test_one_array_and_then_its_tap(sge: Controller, provider: SgeProvider) -> None:
    provider.ask(WORKER, ["worker-1"])
    (line,) = sge.heard()
    assert "-t 1-8 -tc 1 " in line
    assert "-N rayhpc-5-worker.b0.s8 " in line
    assert "-q all.q -pe smp 4 " in line
    provider.ask(WORKER, ["worker-2", "worker-3"])
    assert sge.heard() == ["qalter -tc 3 12"]


def test_the_tap_closes_before_a_machine_goes(sge: Controller, provider: SgeProvider) -> None:
    provider.ask(WORKER, ["worker-1", "worker-2", "worker-3"])
    sge.heard()
    provider.release(["worker-1", "worker-2"])
    assert sge.heard() == ["qalter -tc 1 12", "qdel 12 -t 1-2"]
    provider.release(["worker-3"])
    assert sge.heard() == ["qdel 12"]


def test_only_what_waits_is_cancelled(sge: Controller, provider: SgeProvider) -> None:
    provider.ask(WORKER, ["worker-1", "worker-2"])
    tasks = [entry(1, "r", "host1"), *(entry(i, "qw") for i in range(2, 9))]
    sge.says("qstat", f"<x>{''.join(tasks)}</x>")
    found = {each.name: each for each in provider.list()}
    assert found["worker-1"].state is MachineState.RUNNING
    assert found["worker-1"].address == "host1"
    assert found["worker-2"].state is MachineState.PENDING
    assert len(found) == 2
    sge.heard()
    provider.cancel(["worker-1", "worker-2"])
    assert sge.heard() == ["qdel 12 -t 2-8"]


def test_what_qstat_shows_no_more_has_ended_and_is_not_replaced(
    sge: Controller, provider: SgeProvider
) -> None:
    provider.ask(WORKER, ["worker-1", "worker-2"])
    sge.says("qstat", f"<x>{entry(2, 'r', 'host1')}{entry(3, 'qw')}</x>")
    states = {each.name: each.state for each in provider.list()}
    assert states["worker-1"] is MachineState.ENDED
    sge.heard()
    provider.ask(WORKER, ["worker-3"])
    assert sge.heard() == ["qalter -tc 2 12"]


def test_another_process_asks_for_the_tap(sge: Controller, provider: SgeProvider) -> None:
    sge.says("qstat", f"<x>{entry(1, 'r', 'host1')}{entry(2, 'Eqw')}{entry(3, 'qw')}</x>")
    # The script says the same to both questions; a tap that is not told lets nothing through.
    assert [each.name for each in provider.list()] == ["worker-1"]
    assert sge.heard()[1] == "qstat -j 12"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("error: unable to contact qmaster using port 6444 on host", ProviderError),
        ("Unable to run job: job rejected: max. number of jobs per user", CapacityError),
        ('Unable to run job: unknown resource "nope".', RefusedError),
    ],
)
def test_a_refusal_is_told_apart(
    sge: Controller, provider: SgeProvider, said: str, kind: type[ProviderError]
) -> None:
    sge.fails("qsub", said)
    with pytest.raises(ProviderError) as caught:
        provider.ask(WORKER, ["worker-1"])
    assert type(caught.value) is kind


@pytest.mark.parametrize(("limit", "seconds"), [("h_rt=3600", 3600.0), ("a=1,h_rt=1:0:1", 3601.0)])
def test_a_time_limit_is_a_machines_life(limit: str, seconds: float) -> None:
    assert job.life_of(NodeType("a", options={"l": limit})) == seconds
    assert job.life_of(NodeType("a", options={"l": "mem_free=1G"})) is None


def test_a_job_that_grows_has_hosts_like_its_own(sge: Controller) -> None:
    sge.says("qstat", "job_number:   7\nproject:     p\nhard resource_list:   h_rt=60,mem_free=1G")
    environ = {"JOB_ID": "7", "QUEUE": "all.q", "PE": "smp", "NSLOTS": "4", "NHOSTS": "1"}
    words = ["-q", "all.q", "-pe", "smp", "4", "-l", "h_rt=60,mem_free=1G", "-P", "p"]
    assert job.words_like(environ) == words
    with pytest.raises(OptionError, match="node type a: -tc is set by rayhpc"):
        job.words_of(NodeType("a", options={"tc": 3}))
