"""The ApplicationMaster with real processes, on the fake YARN: everywhere, and what a real one
cannot be made to do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.hadoop.messages.records import FinalApplicationStatusProto
from tests.yarn.applications import Submitted, wait_until
from tests.yarn.fake.cluster import FakeYarn
from tests.yarn.programs import program, waiting_for

SUCCEEDED = FinalApplicationStatusProto.APP_SUCCEEDED
FAILED = FinalApplicationStatusProto.APP_FAILED


@pytest.fixture
def yarn(tmp_path: Path) -> Iterator[FakeYarn]:
    cluster = FakeYarn(tmp_path / "yarn", nodes=3, protection="auth-conf")
    yield cluster
    cluster.close()


def submit(yarn: FakeYarn, tmp_path: Path, text: str, nodes: int, **options: object) -> Submitted:
    return Submitted(yarn.configuration, tmp_path / "job", text, nodes, **options)  # type: ignore[arg-type]


def output(tmp_path: Path) -> str:
    return "".join(path.read_text() for path in tmp_path.glob("yarn/nm*/logs/*/std*"))


def test_ranks_of_all_containers_make_one_cluster(yarn: FakeYarn, tmp_path: Path) -> None:
    report = submit(yarn, tmp_path, program(3), 3).wait()
    assert report.final_application_status == SUCCEEDED, output(tmp_path)
    assert "found 3" in output(tmp_path)
    wait_until(lambda: yarn.running() == [], 5.0)


def test_the_programs_exit_code_and_traceback_come_through(yarn: FakeYarn, tmp_path: Path) -> None:
    text = program(1, after="raise SystemExit(3)")
    report = submit(yarn, tmp_path, text, 1).wait()
    assert report.final_application_status == FAILED
    assert report.diagnostics == "the program ended: exit code 3 (rayhpc exit code 3)"


def test_no_secret_is_in_environment_or_command_line(yarn: FakeYarn, tmp_path: Path) -> None:
    look = """
import pathlib
for path in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        text = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
    except OSError:
        continue
    assert b"cluster_id" not in text and b"head_public" not in text
print("looked", flush=True)
"""
    report = submit(yarn, tmp_path, program(2, after=look), 2).wait()
    assert report.final_application_status == SUCCEEDED, output(tmp_path)
    assert "looked" in output(tmp_path)
    for path in tmp_path.rglob("application.json"):
        assert "head_public" not in path.read_text()


def test_a_container_that_is_killed_is_replaced(yarn: FakeYarn, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = submit(yarn, tmp_path, program(2, before=waiting_for(go)), 2)
    wait_until((tmp_path / "go.started").exists)
    (victim,) = [name for name in yarn.running() if not name.endswith("_01_000001")]
    next(node for node in yarn.nodes if victim in node.running()).kill(victim)
    wait_until(lambda: any(name > victim for name in yarn.running()))
    go.touch()
    report = job.wait()
    assert report.final_application_status == SUCCEEDED, output(tmp_path)
    assert "ended by SIGKILL; it is replaced (2 more may fail)" in output(tmp_path)


def test_a_lost_node_costs_no_restart(yarn: FakeYarn, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = submit(yarn, tmp_path, program(2, before=waiting_for(go)), 2, restarts=3)
    wait_until((tmp_path / "go.started").exists)
    victim = next(node for node in yarn.nodes[1:] if node.running())
    yarn.lose_node(victim)
    wait_until(lambda: len(yarn.running()) == 2)
    go.touch()
    report = job.wait()
    assert report.final_application_status == SUCCEEDED, output(tmp_path)


def test_a_resource_manager_that_restarts_is_told_again(yarn: FakeYarn, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = submit(yarn, tmp_path, program(2, before=waiting_for(go)), 2)
    wait_until((tmp_path / "go.started").exists)
    before = sorted(yarn.running())
    yarn.restart_manager(outage_s=1.0)
    wait_until(lambda: "registering again" in output(tmp_path))
    assert sorted(yarn.running()) == before
    go.touch()
    report = job.wait()
    assert report.final_application_status == SUCCEEDED, output(tmp_path)


def test_the_second_attempt_runs_the_program_again(yarn: FakeYarn, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = submit(yarn, tmp_path, program(2, before=waiting_for(go)), 2)
    wait_until((tmp_path / "go.started").exists)
    (master,) = [name for name in yarn.running() if name.endswith("_01_000001")]
    yarn.nodes[0].kill(master)
    wait_until(lambda: any("_02_" in name for name in yarn.running()))
    go.touch()
    report = job.wait()
    assert report.final_application_status == SUCCEEDED, output(tmp_path)
    wait_until(lambda: yarn.running() == [], 5.0)


def test_more_than_a_container_may_have_is_an_error_with_the_limit(
    yarn: FakeYarn, tmp_path: Path
) -> None:
    report = submit(yarn, tmp_path, program(2), 2, vcores=99).wait()
    assert report.final_application_status == FAILED
    assert "vcores: 99 asked, at most 8 per container" in report.diagnostics


def test_ranks_that_cannot_start_end_the_application(yarn: FakeYarn, tmp_path: Path) -> None:
    for node in yarn.nodes:
        node.refuses = True
    began = time.monotonic()
    report = submit(yarn, tmp_path, program(2), 2, restarts=1).wait()
    assert report.final_application_status == FAILED
    assert "could not be started: NMNotYetReadyException: wait" in report.diagnostics
    assert "(rayhpc exit code 72)" in report.diagnostics
    assert time.monotonic() - began < 30
