"""Looks at clusters that never were."""

from __future__ import annotations

from typing import Any

from rayhpc.observe.live.look import Look
from rayhpc.observe.live.tally import Tally
from rayhpc.wire.messages.actors import ActorRow, ActorSpec
from rayhpc.wire.messages.common import JobConfig, SchedulingClass
from rayhpc.wire.messages.listings import ClusterState, JobRow
from rayhpc.wire.messages.task_runs import RunPage
from tests.observe.generator import BEGIN, Made


def tally_of(made: Made, recent: int = 0, is_news: bool = True) -> Tally:
    """What has run, as if it had just been reported."""
    tally = Tally(recent)
    tally.mark(0.0)
    for page in made.recording().pages:
        tally.add(page, is_news)
    tally.mark(2.0)
    return tally


def actor_row(actor: bytes, class_name: str, **more: Any) -> ActorRow:
    """An actor as the head tells it."""
    spec = ActorSpec(
        actor=actor,
        owner=1,
        job=1,
        class_name=class_name,
        definition_id=b"",
        definition=b"",
        methods=b"",
        args=b"",
        deps=[],
        placing=SchedulingClass({}),
        holding={},
        name=more.pop("name", ""),
    )
    plain: dict[str, Any] = {"state": "ALIVE", "incarnation": 1, "pid": 77, "started": BEGIN}
    return ActorRow(spec, address=5, **{**plain, **more})


def look_of(made: Made, actors: list[ActorRow] | None = None, **more: Any) -> Look:
    """One look at a cluster on which this has run."""
    command = " ".join(made.command)
    job = JobConfig(1, 1 << 32 | 1, "", [], "", [], b"", True, command, 42)
    plain: dict[str, Any] = {
        "at": made.end,
        "address": "127.0.0.1:1",
        "state": ClusterState("c" * 32, BEGIN, made.nodes, {}, {}, 1, []),
        "actors": actors or [],
        "jobs": [JobRow(job, True, BEGIN)],
        "history": [],
        "tally": tally_of(made),
        "behind": 0,
    }
    return Look(**{**plain, **more})


def pages_of(made: Made) -> list[RunPage]:
    """The runs as raylets tell them."""
    return made.recording().pages
