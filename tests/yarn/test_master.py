"""The ApplicationMaster with real processes, on the fake YARN: everywhere, and what a real one
cannot be made to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.batch.yarn.submission import Terms
from rayhpc.hadoop.messages.records import FinalApplicationStatusProto
from tests.yarn.applications import Submitted, wait_until
from tests.yarn.fake.cluster import FakeYarn
from tests.yarn.programs import BURST, RESIZE, program, waiting_for

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
    wait_until(lambda: yarn.running() == [])


def test_what_does_not_fit_is_spilled_to_yarns_directories_and_home_stays_empty(
    yarn: FakeYarn, tmp_path: Path
) -> None:
    spill = """
import glob
import numpy

kept = [rayhpc.put(numpy.full(40 << 20, number, dtype="u1")) for number in range(6)]
local = os.environ["LOCAL_DIRS"]
spilled = 0
for link in glob.glob("/proc/[0-9]*/fd/*"):  # the files have no names
    try:
        if os.readlink(link).startswith(local):
            spilled += os.stat(link).st_size
    except OSError:
        pass
print("spilled", spilled >= 40 << 20, flush=True)
print("whole", [int(rayhpc.get(each)[-1]) for each in kept] == list(range(6)), flush=True)
"""
    report = submit(yarn, tmp_path, program(2, after=spill), 2).wait()
    assert report.final_application_status == SUCCEEDED, output(tmp_path)
    assert "spilled True\nwhole True\n" in output(tmp_path)
    for node in yarn.nodes:
        assert not list(node.folder.glob("home/*"))
        assert not [each for each in node.folder.glob("local/**/*") if each.is_file()]


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


@pytest.mark.parametrize("waits", [False, True])
def test_the_second_attempt_takes_the_containers_over_and_runs_the_program_again(
    yarn: FakeYarn, tmp_path: Path, waits: bool
) -> None:
    """Whether or not their ranks have heard of the end of the head by then."""
    go, started = tmp_path / "go", tmp_path / "go.started"
    job = submit(yarn, tmp_path, program(3, before=waiting_for(go)), 3, hold_s=60.0)
    wait_until(started.exists)
    before = sorted(yarn.running())
    started.unlink()
    yarn.may_start_masters.clear()
    yarn.nodes[0].kill(before[0])
    if waits:
        wait_until(lambda: output(tmp_path).count("waits 60 s for a new head") == 2)
    yarn.may_start_masters.set()
    wait_until(started.exists)
    assert sorted(yarn.running()) == [*before[1:], before[0].replace("_01_0", "_02_0")]
    assert "containers left by the attempt before: 2" in output(tmp_path)
    go.touch()
    report = job.wait()
    assert report.final_application_status == SUCCEEDED, output(tmp_path)
    wait_until(lambda: yarn.running() == [])


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_job_grows_and_shrinks_and_no_task_is_lost(
    yarn: FakeYarn, tmp_path: Path, nodes: int
) -> None:
    go = tmp_path / "go"
    job = submit(yarn, tmp_path, program(nodes, after=RESIZE + waiting_for(go)), nodes)
    wait_until(lambda: "shrunk" in output(tmp_path))
    assert "worked on 3\n" in output(tmp_path)
    wait_until(lambda: len(yarn.running()) == 1)
    go.touch()
    report = job.wait()
    assert report.final_application_status == SUCCEEDED, output(tmp_path)


def test_a_burst_grows_to_the_most_and_back_and_no_task_is_lost(
    yarn: FakeYarn, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    grows = ["--elastic", "3", "--idle-timeout", "1"]
    job = submit(yarn, tmp_path, BURST + waiting_for(go), 1, options=grows)
    wait_until(lambda: "back\n" in output(tmp_path))
    assert "worked on 3\n" in output(tmp_path)
    wait_until(lambda: len(yarn.running()) == 1)
    assert "was lost" not in output(tmp_path)
    go.touch()
    report = job.wait()
    assert report.final_application_status == SUCCEEDED, output(tmp_path)
    wait_until(lambda: yarn.running() == [])
    assert not list(tmp_path.rglob(".rayhpc-elastic-*"))


def test_without_a_resource_manager_the_program_ends_in_time(
    yarn: FakeYarn, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    text = program(2, before=waiting_for(go))
    submit(yarn, tmp_path, text, 2, patience_s=1.0, terms=Terms(attempts=1))
    wait_until((tmp_path / "go.started").exists)
    yarn.lose_manager()
    wait_until(lambda: yarn.running() == [])
    assert "the ResourceManager has not answered for 1 s" in output(tmp_path)


def test_more_than_a_container_may_have_is_an_error_with_the_limit(
    yarn: FakeYarn, tmp_path: Path
) -> None:
    report = submit(yarn, tmp_path, program(2), 2, vcores=99).wait()
    assert report.final_application_status == FAILED
    assert "vcores: 99 asked, at most 8 per container" in report.diagnostics


def test_ranks_that_cannot_start_end_the_application(yarn: FakeYarn, tmp_path: Path) -> None:
    for node in yarn.nodes:
        node.refuses = True
    report = submit(yarn, tmp_path, program(2), 2, restarts=1).wait()
    assert report.final_application_status == FAILED
    assert "could not be started: NMNotYetReadyException: wait" in report.diagnostics
    assert "(rayhpc exit code 72)" in report.diagnostics
