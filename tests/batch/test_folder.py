"""Job folders and selectors."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path

import pytest

from rayhpc.batch import folder as job_folders
from rayhpc.batch.folder import JobFolder, JobRecord, Summary
from rayhpc.batch.selectors import select, select_one
from rayhpc.exit_codes import LaunchError


def make(base: Path, job_id: str, submitted: float = 1.0) -> JobFolder:
    folder = job_folders.create(base)
    folder.set_record(JobRecord("slurm", "train", ["python", "train.py"], 2, submitted))
    folder.set_id(job_id)
    return folder


def test_everything_in_it_is_private(tmp_path: Path) -> None:
    folder = make(tmp_path / "jobs", "7")
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    for path in folder.path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = make(tmp_path, "7")
    record = folder.record()
    assert (record.id, record.name, record.command) == ("7", "train", ["python", "train.py"])
    assert folder.summary() is None
    folder.set_summary(Summary(3, 1.0, 2.0))
    assert folder.summary() == Summary(3, 1.0, 2.0)


def test_a_damaged_summary_is_none(tmp_path: Path) -> None:
    folder = make(tmp_path, "7")
    (folder.path / "summary.json").write_text('{"exit_code": 3')
    assert folder.summary() is None


def test_the_summary_that_the_script_writes_is_read(tmp_path: Path) -> None:
    folder = make(tmp_path, "7")
    text = '{"job_id": "7", "exit_code": 0, "started": 5, "ended": 6, "nodes": "n", "restarts": 1}'
    (folder.path / "summary.2.json").write_text(text)
    found = folder.summary(2)
    assert found is not None
    assert (found.exit_code, found.restarts) == (0, 1)


def test_output_is_where_the_user_wanted_it(tmp_path: Path) -> None:
    folder = make(tmp_path, "7")
    assert folder.output() == folder.path / "stdout"
    assert folder.output("stderr", 4) == folder.path / "stderr.4"
    record = json.loads((folder.path / "job.json").read_text())
    (folder.path / "job.json").write_text(json.dumps({**record, "output": "/w/out.txt"}))
    assert folder.output() == Path("/w/out.txt")
    assert folder.output("stderr") == folder.path / "stderr"
    (folder.path / "job.json").write_text(json.dumps({**record, "output": "/w/%x-%j_%a.%%"}))
    assert folder.output(task=3) == Path("/w/train-7_3.%")


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("not a directory")
    with pytest.raises(LaunchError, match="--job-dir"):
        job_folders.create(tmp_path / "jobs")


def test_local_numbers_are_taken_once(tmp_path: Path) -> None:
    first, second = make(tmp_path, ""), make(tmp_path, "")
    assert (first.take_local_id(), second.take_local_id()) == ("local-1", "local-2")
    assert make(tmp_path, "9").record().id == "9"


def test_selectors(tmp_path: Path) -> None:
    for job_id in ("3", "4", "9", "local-1", "local-2"):
        make(tmp_path, job_id)
    known = sorted(job_folders.folders(tmp_path), key=lambda each: each.record().id)

    def ids(*words: str) -> list[str]:
        return [each.record().id for each in select(known, words)]

    assert ids() == ["local-2"]
    assert ids("last") == ["local-2"]
    assert ids("all") == ["3", "4", "9", "local-1", "local-2"]
    assert ids("3-8") == ["3", "4"]
    assert ids("9", "3,3") == ["3", "9"]
    assert ids("local-1-5") == ["local-1", "local-2"]
    assert ids(known[0].path.name) == ["3"]


def array(base: Path, job_id: str, *tasks: int, output: str | None = None) -> JobFolder:
    folder = make(base, job_id)
    folder.set_record(dataclasses.replace(folder.record(), id="", array=[*tasks], output=output))
    return folder


def test_tasks_of_an_array_are_named_as_slurm_does(tmp_path: Path) -> None:
    make(tmp_path, "3")
    array(tmp_path, "12", 1, 2, 3, 7)
    known = sorted(job_folders.folders(tmp_path), key=lambda each: int(each.record().id))

    def ids(*words: str) -> list[str]:
        return [each.record().id for each in select(known, words)]

    assert ids("12_3") == ids("last_3") == ["12_3"]
    assert ids("12_[1-3,7]") == ["12_1", "12_2", "12_3", "12_7"]
    assert ids("12_7,12_1", "3", "12_7") == ["3", "12_1", "12_7"]
    assert ids("12_7", "12") == ["12"]
    with pytest.raises(LaunchError, match="job 12 has no task 4; it has 1, 2, 3, 7"):
        ids("12_4")
    with pytest.raises(LaunchError, match="job 3 is not an array: name it as 3"):
        ids("3_0")
    with pytest.raises(LaunchError, match="no job '9_1'"):
        ids("9_1")


def test_a_task_has_files_of_its_own(tmp_path: Path) -> None:
    task = array(tmp_path, "12", 1, 3).of_task(3)
    assert (task.record().id, task.record().array) == ("12_3", [3])
    assert task.output() == task.path / "stdout.3"
    assert task.node_logs == task.path / "nodes" / "3"
    assert task.summary() is None
    text = '{"job_id": "14", "exit_code": 5, "started": 5, "ended": 6}'
    (task.path / "summary.3.json").write_text(text)
    assert task.summary() == Summary(5, 5, 6, job_id="14")
    assert task.of_task(1).summary() is None


def test_the_output_of_a_task_where_the_user_wanted_it(tmp_path: Path) -> None:
    folder = array(tmp_path, "12", 1, 3, output="/w/%A_%a-%j.txt")
    text = '{"job_id": "14", "exit_code": 5, "started": 5, "ended": 6}'
    (folder.path / "summary.3.json").write_text(text)
    assert folder.of_task(3).output() == Path("/w/12_3-14.txt")


@pytest.mark.parametrize("word", ["5", "5-6", "nonsense", "local-7"])
def test_a_selector_that_names_nothing_says_what_there_is(tmp_path: Path, word: str) -> None:
    folder = make(tmp_path, "3")
    with pytest.raises(LaunchError, match=r"no job .* there are 3"):
        select([folder], [word])
    numbered = [make(tmp_path, f"local-{number}") for number in range(95, 103)]
    with pytest.raises(LaunchError, match="there are local-98, local-99, local-100, local-101, l"):
        select(numbered, [word])
    with pytest.raises(LaunchError, match="no job yet"):
        select([], [word])


def test_one_is_one(tmp_path: Path) -> None:
    known = [make(tmp_path, "3"), make(tmp_path, "4")]
    with pytest.raises(LaunchError, match="2 jobs"):
        select_one(known, "all")
    assert select_one(known, "4").record().id == "4"


def test_where_folders_are(tmp_path: Path) -> None:
    base = job_folders.jobs_base
    assert base({"XDG_STATE_HOME": "/s"}) == Path("/s/rayhpc/jobs")
    assert base({"XDG_STATE_HOME": "/s", "RAYHPC_JOBS": "/j"}) == Path("/j")
    assert base({"RAYHPC_JOBS": "/j"}, Path("/t")) == Path("/t")
    assert job_folders.folders(tmp_path / "none") == []
