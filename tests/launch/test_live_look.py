"""How long those who look at a cluster wait for a head that is away."""

from __future__ import annotations

from typing import Any

from rayhpc.launch.live_look import LiveLook
from rayhpc.launch.watcher import LOOK_EVERY_S
from rayhpc.wire.messages.cluster import HEAD_PATIENCE_S, ClusterUsage
from tests.observe.generator import Made
from tests.observe.live.looks import look_of


class Patient:
    """A cluster without nodes; notes how long each answer was waited for."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def ask(self, question: object, kind: object, *, timeout_s: float) -> Any:
        self.waited.append(timeout_s)
        return look_of(Made()).state if isinstance(question, ClusterUsage) else []

    def ask_each(self, *_: object) -> dict[int, Any]:
        return {}


def test_a_silent_head_is_noticed_before_the_cluster_gives_it_up() -> None:
    cluster: Any = Patient()
    LiveLook(cluster, "").look(with_history=True)
    assert len(cluster.waited) == 4
    assert LOOK_EVERY_S + max(cluster.waited) < HEAD_PATIENCE_S
