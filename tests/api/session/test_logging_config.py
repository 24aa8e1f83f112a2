"""`init(logging_config=…)`: the program's own records, in the driver and in its workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import rayhpc

Run = Callable[..., Any]

PROGRAM = """
    import logging, sys, rayhpc

    config = rayhpc.LoggingConfig(
        encoding=sys.argv[1], log_level="INFO", additional_log_standard_attrs=["name"]
    )
    rayhpc.init("local", num_cpus=2, logging_config=config)
    log = logging.getLogger("mine")

    @rayhpc.remote
    def task(i):
        log.info("from a task")
        log.debug("too detailed")

    @rayhpc.remote
    class Actor:
        def call(self):
            try:
                raise ValueError("why")
            except ValueError:
                log.exception("from a call")

    log.info("from the driver")
    rayhpc.get([task.remote(i) for i in range(3)])
    rayhpc.get(Actor.options(name="the actor").remote().call.remote())
    rayhpc.shutdown()
    rayhpc.init("local", num_cpus=1)
    rayhpc.get(task.remote(0))
"""


def run(run_program: Run, encoding: str) -> list[str]:
    program = PROGRAM.replace("sys.argv[1]", repr(encoding))
    lines: list[str] = run_program(program).stderr.splitlines()
    return lines


def test_records_are_objects_with_the_ids_of_what_wrote_them(run_program: Run) -> None:
    rows = [json.loads(x) for x in run(run_program, "JSON") if x.startswith("{")]
    mine = [row for row in rows if row["name"] == "mine"]
    by_text: dict[str, list[dict[str, Any]]] = {}
    for row in mine:
        by_text.setdefault(row["message"], []).append(row)
        assert row["filename"]
        assert row["timestamp_ns"] > 0
    assert set(by_text) == {"from the driver", "from a task", "from a call"}
    (driver,), (call,) = by_text["from the driver"], by_text["from a call"]
    assert "task_id" not in driver
    assert driver["job_id"] == call["job_id"]
    assert len({row["task_id"] for row in by_text["from a task"]}) == 3, "none is folded away"
    assert {row["task_name"] for row in by_text["from a task"]} == {"task"}
    assert call["levelname"] == "ERROR"
    assert "ValueError: why" in call["exc_text"]
    assert call["actor_name"] == "the actor"
    assert call["worker_id"] != driver["worker_id"]


def test_or_lines_with_them_and_without_a_prefix(run_program: Run) -> None:
    lines = run(run_program, "TEXT")
    (call,) = [line for line in lines if "from a call" in line]
    assert "pid=" not in call
    assert "ERROR" in call
    assert " name=mine " in call
    assert " actor_name=the actor " in call


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"encoding": "XML"}, "TEXT, JSON"),
        ({"log_level": "LOUD"}, "LOUD"),
        ({"additional_log_standard_attrs": ["nam"]}, "no attribute"),
    ],
)
def test_mistakes_are_named(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        rayhpc.LoggingConfig(**given)
