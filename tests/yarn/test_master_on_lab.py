"""The ApplicationMaster on the real YARN: what must leave the answer right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rayhpc.hadoop.messages.records import FinalApplicationStatusProto
from tests.yarn.applications import Submitted, wait_until
from tests.yarn.labs import SLOW_ON, within
from tests.yarn.programs import program, waiting_for
from yarn.lab.lab import Lab
from yarn.lab.processes import of_containers

pytestmark = within(120)

SUCCEEDED = FinalApplicationStatusProto.APP_SUCCEEDED


@pytest.mark.parametrize("lab", SLOW_ON, indirect=True)
@within(180)
def test_losses_in_mid_run_leave_the_answer_right(lab: Lab, tmp_path: Path) -> None:
    """A worker's container, the ResourceManager, a NodeManager alone, and a whole node, one after
    the other.
    """
    go = tmp_path / "go"
    text = program(3, before=waiting_for(go))
    job = submit(lab, tmp_path, text, 3)
    wait_until((tmp_path / "go.started").exists, 60)
    ranks = lambda: sorted(hosts(lab, job))  # noqa: E731
    master = next(host for host, name in hosts(lab, job) if name.endswith("_01_000001"))
    kill_container(lab, job)
    wait_until(lambda: "it is replaced" in output(lab, job))
    lab.kill("rm")
    lab.start("rm")
    wait_until(lambda: "registering again" in output(lab, job))
    wait_until(lambda: len(ranks()) == 3)
    before = hosts(lab, job)
    victim = next(host for host, _ in before if host != master)
    name = next(n for n in lab.layout.node_managers if lab.layout.address(n) == victim)
    lab.kill(name)
    lab.start(name)
    assert hosts(lab, job) == before  # its containers have gone on
    lab.kill(name, node=True)
    try:
        wait_until(lambda: "its node was lost" in output(lab, job), 60)
        wait_until(lambda: len(ranks()) == 3)
        go.touch()
        report = job.wait(60)
    finally:
        lab.start(name)
    assert report.final_application_status == SUCCEEDED, output(lab, job)
    assert "found 3" in output(lab, job)
    wait_until(lambda: hosts(lab, job) == set())


@pytest.mark.parametrize("lab", SLOW_ON, indirect=True)
def test_the_second_attempt_leaves_the_answer_right(lab: Lab, tmp_path: Path) -> None:
    """It takes over the containers of the first, but one on its own host, if there is."""
    go, started = tmp_path / "go", tmp_path / "go.started"
    job = submit(lab, tmp_path, program(3, before=waiting_for(go)), 3, hold_s=60.0)
    wait_until(started.exists, 60)
    hosts_before = hosts(lab, job)
    before = {name for _, name in hosts_before if not name.endswith("_01_000001")}
    started.unlink()
    for process, command in of_containers(lab.layout.run):
        if "rayhpc.batch.yarn.master" in command:
            process.send(9)
    wait_until(started.exists, 60)
    after = hosts(lab, job)
    assert len(after) == 3
    (master,) = [host for host, name in after if name.endswith("_02_000001")]
    kept = before & {name for _, name in after}
    # One that is on the new master's host is given back.
    assert len(kept) == sum(host != master for host, name in hosts_before if name in before)
    assert "containers left by the attempt before: 2" in output(lab, job)
    go.touch()
    report = job.wait()
    assert report.final_application_status == SUCCEEDED, output(lab, job)
    wait_until(lambda: hosts(lab, job) == set())


def submit(lab: Lab, tmp_path: Path, text: str, nodes: int, **options: object) -> Submitted:
    client = lab.layout.configuration("client")
    return Submitted(client, tmp_path / "job", text, nodes, **options)  # type: ignore[arg-type]


def hosts(lab: Lab, job: Submitted) -> set[tuple[str, str]]:
    """Host and name of each container of the application that has processes."""
    found = set()
    for process, _ in of_containers(lab.layout.run):
        try:
            text = Path(f"/proc/{process.pid}/environ").read_bytes()
        except OSError:
            continue  # it has just ended
        values = dict(re.findall(rb"(CONTAINER_ID|NM_HOST)=([^\0]*)", text))
        name = values.get(b"CONTAINER_ID", b"").decode()
        if job.name.removeprefix("application_") in name:
            found.add((values[b"NM_HOST"].decode(), name))
    return found


def kill_container(lab: Lab, job: Submitted) -> None:
    for process, command in of_containers(lab.layout.run):
        if "rayhpc.batch.yarn.container" in command:
            process.send(9)
            return
    raise AssertionError("no rank but 0 runs")


def output(lab: Lab, job: Submitted) -> str:
    logs = lab.layout.run.glob(f"nm*/logs/{job.name}/*/std*")
    return "".join(path.read_text(errors="replace") for path in logs)
