"""What the microbenchmark says of its figures; the figures themselves are no business of tests."""

from __future__ import annotations

import json
import subprocess
import sys

from rayhpc.util.microbenchmark.measuring import Row, rates_in_turn
from rayhpc.util.microbenchmark.tasks import least_time


def test_a_ratio_above_one_is_better_whatever_the_unit() -> None:
    assert Row("rate", 20.0, "tasks/s", 10.0, "Pool").ratio == 2.0
    assert Row("time", 20.0, "s", 10.0, "ideal").ratio == 0.5
    assert Row("memory", 5.0, "MiB", 10.0, "other").ratio == 2.0
    assert Row("alone", 20.0, "s").ratio is None


def test_the_mixed_rows_ideal() -> None:
    assert least_time(1) == 4.0
    assert least_time(2) == 2.5
    assert abs(least_time(100) - 2.01) < 1e-9


def test_two_actions_are_measured_turn_about() -> None:
    done: list[str] = []
    ours, theirs = rates_in_turn(lambda: done.append("a"), lambda: done.append("b"), 3, 0.0)
    assert done == ["a", "b"] * (len(done) // 2)
    assert ours > 0
    assert theirs > 0


def test_the_command_prints_one_document() -> None:
    command = [sys.executable, "-m", "rayhpc.cli.main", "microbenchmark", "--num-cpus", "1"]
    command += ["--seconds", "0.01", "--json", "--only", "single client put calls"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["workers"] == 1
    assert [x["name"] for x in document["rows"]] == ["single client put calls"]
