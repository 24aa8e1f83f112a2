"""Recordings become columns: whole, in order, and whatever a worker's memory held."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from rayhpc.exit_codes import LaunchError
from rayhpc.observe import facts, recording
from rayhpc.observe.views.functions import maker_of
from rayhpc.wire import runs
from rayhpc.wire.messages.task_runs import RunBatch, RunGroup, RunPage
from tests.observe.generator import BEGIN, Made


def test_everything_told_of_runs_is_in_the_columns() -> None:
    made = Made(nodes=2)
    first = made.run("load", 0.0, 1.0, node=1, slot=3, gpus=0.5, sent=5_000)
    second = made.run("step", 1.5, 0.5, attempt=1, error="KeyError", waited=0.2)
    made.run("step", 2.0, 1.0, sources=[first, second], parent=first, actor=b"a" * 16)
    snapshot = facts.snapshot(made.recording())
    found = snapshot.runs
    assert len(found) == 3
    by_start = np.argsort(found.start)
    names = [snapshot.functions[i] for i in found.function[by_start].tolist()]
    assert names == ["load", "step", "step"]
    assert (found.start[by_start] - BEGIN).tolist() == [0.0, 1.5, 2.0]
    assert found.waited[by_start].tolist() == [0.0, 0.2, 0.0]
    assert found.gpus[by_start].tolist() == [0.5, 0.0, 0.0]
    assert found.attempt[by_start].tolist() == [0, 1, 0]
    assert [snapshot.workers[i].node for i in found.worker[by_start].tolist()] == [2, 1, 1]
    assert snapshot.failures == ["KeyError"]
    assert [(x.calls, x.size) for x in snapshot.sent.values()] == [(1, 5_000)]
    last = int(by_start[2])
    sources = found.sources[found.first_source[last] : found.first_source[last + 1]]
    assert maker_of(snapshot, sources).tolist() == by_start[:2].tolist()
    assert maker_of(snapshot, found.parent[[last]]).tolist() == [int(by_start[0])]


def test_runs_are_by_worker_and_start_however_they_were_reported() -> None:
    made = Made(nodes=3)
    for i in range(300):
        made.run("f", (i * 37 % 300) / 10, 0.01, node=i % 3, slot=i % 2)
    found = facts.snapshot(made.recording()).runs
    order = np.lexsort((found.start, found.worker))
    assert order.tolist() == list(range(300))


def test_what_a_worker_has_written_over_is_left_out() -> None:
    made = Made()
    made.run("f", 0.0, 1.0)
    whole = made.recording()
    bad = RunGroup("g", 1, b"", 0, "", 0, 0, b"short", bytes(16), bytes(8), sources=b"xyz")
    data = runs._encode(RunBatch(1, 2, 0.0, [bad], b"n" * 12))
    broken = RunPage([len(data).to_bytes(4, "big") + data, (9).to_bytes(4, "big") + b"\xc1" * 9])
    snapshot = facts.snapshot(replace(whole, pages=[broken, *whole.pages]))
    assert len(snapshot.runs) == 1
    assert snapshot.functions == ["f"]


def test_a_cluster_that_ran_nothing_is_a_snapshot_too() -> None:
    snapshot = facts.snapshot(Made().recording(ended=BEGIN + 5))
    assert len(snapshot.runs) == 0
    assert snapshot.span == 5


def test_a_file_that_is_no_recording_is_refused_in_words(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "recording"
    recording.write(Made().recording(), path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert recording.read(path).job.command == ["python", "train.py"]
    recording.write(replace(Made().recording(), version=99), path)
    with pytest.raises(LaunchError, match="another version"):
        recording.read(path)
    path.write_bytes(b"junk")
    with pytest.raises(LaunchError, match="not a recording"):
        recording.read(path)
