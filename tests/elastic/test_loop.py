"""The loop: written down before it acts, found again by name, every trouble said once."""

from __future__ import annotations

from collections.abc import Sequence

from rayhpc.elastic.history import History
from rayhpc.elastic.loop import Loop
from rayhpc.elastic.types import Machine, MachineState, NodeType
from rayhpc.providers.base import ProviderError, RefusedError
from rayhpc.wire.messages.common import DEFAULT_STRATEGY, UNIT, Resources
from rayhpc.wire.messages.elastic import ElasticStatus, Moment
from rayhpc.wire.messages.load import ClusterLoad, Waiting

CPU = {"CPU": UNIT}
WORKER = NodeType("worker", {"CPU": UNIT}, max_nodes=4)


class Killed(Exception):
    """The process that runs the loop is gone."""


class Head:
    """A head on which so many tasks wait."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.kept: bytes | None = None
        self.resume: list[str] = []
        self.moments: list[Moment] = []
        self.status: ElasticStatus | None = None

    def load(self) -> ClusterLoad:
        waiting = [Waiting(CPU, self.waiting, DEFAULT_STRATEGY)] if self.waiting else []
        return ClusterLoad([], waiting, [])

    def floor(self) -> Sequence[Resources]:
        return []

    def resumed(self) -> Sequence[str]:
        found, self.resume = self.resume, []
        return found

    def drain(self, node_id: str) -> None: ...

    def undrain(self, node_id: str) -> None: ...

    def remember(self, state: bytes) -> None:
        self.kept = state

    def remembered(self) -> bytes | None:
        return self.kept

    def show(self, status: ElasticStatus) -> None:
        self.status = status

    def keep_history(self, moments: list[Moment]) -> None:
        self.moments = moments

    def history(self) -> list[Moment]:
        return self.moments


class Place:
    """A provider that fails as it is told to."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.asked: list[tuple[str, ...]] = []
        self.error: Exception | None = None
        self.after: Exception | None = None
        self.released: list[str] = []

    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        self.asked.append(tuple(names))
        if self.error is not None:
            raise self.error
        for name in names:
            self.machines[name] = Machine(name, node_type.name, MachineState.PENDING)
        if self.after is not None:
            raise self.after

    def cancel(self, names: Sequence[str]) -> None: ...

    def list(self) -> Sequence[Machine]:
        return list(self.machines.values())

    def release(self, names: Sequence[str]) -> None:
        self.released += names

    def explain(self, name: str) -> str:
        return ""


class Scene:
    """A loop, and what it said."""

    def __init__(self, waiting: int = 1) -> None:
        self.now = 1000.0
        self.head, self.place = Head(waiting), Place()
        self.said: list[str] = []
        self.loop = self.another()

    def another(self) -> Loop:
        return Loop([WORKER], self.place, self.head, 30.0, self.said.append, lambda: self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += self.loop.turn()


def test_what_waits_is_asked_for_and_said_once() -> None:
    scene = Scene()
    scene.run(5.0)
    assert scene.place.asked == [("worker-1",)]
    asked = [text for text in scene.said if text.startswith("asked for worker-1")]
    assert asked == ["asked for worker-1: 1 task that needs 1 CPU finds no room"]
    assert scene.head.status is not None
    assert scene.head.status.types == {"worker": (0, 1, 0, 4)}


def test_once_it_is_to_end_nothing_is_asked_for() -> None:
    scene = Scene()
    scene.loop.stop()
    scene.run(5.0)
    assert scene.head.kept is not None  # it was about to ask
    assert scene.place.asked == []


def test_killed_between_ask_and_answer_it_is_found_again() -> None:
    scene = Scene()
    scene.place.after = Killed()
    try:
        scene.run(5.0)
    except Killed:
        pass
    scene.place.after = None
    scene.loop = scene.another()
    scene.run(60.0)
    assert set(scene.place.machines) == {"worker-1"}


def test_no_answer_is_asked_again_under_the_same_name() -> None:
    scene = Scene()
    scene.place.error = ProviderError("the controller does not answer")
    scene.run(5.0)
    scene.place.error = None
    scene.run(20.0)
    assert set(scene.place.asked) == {("worker-1",)}
    assert len(scene.place.asked) == 2
    assert scene.said.count("worker: the controller does not answer") == 1


def test_a_refusal_pauses_the_type_and_is_quoted() -> None:
    scene = Scene()
    scene.place.error = RefusedError("sbatch: invalid partition")
    scene.run(600.0)
    assert len(scene.place.asked) == 1
    assert "worker is paused: sbatch: invalid partition" in scene.said
    assert len(scene.said) == len(set(scene.said))


def test_a_paused_type_is_asked_for_again_when_the_user_resumes_it() -> None:
    scene = Scene()
    scene.place.error = RefusedError("sbatch: invalid partition")
    scene.run(60.0)
    scene.place.error = None
    scene.head.resume = ["worker"]
    scene.run(60.0)
    assert [len(names) for names in scene.place.asked] == [1, 1]
    assert set(scene.place.machines) == {"worker-2"}
    assert "worker is asked for again: the user has resumed it" in scene.said


def test_all_types_together_keep_to_the_clusters_most() -> None:
    scene = Scene(waiting=9)
    other = NodeType("other", {"CPU": UNIT}, min_nodes=1, max_nodes=4)
    types, now = [WORKER, other], lambda: scene.now
    scene.loop = Loop(types, scene.place, scene.head, 30.0, scene.said.append, now, most=5)
    scene.run(60.0)
    assert len(scene.place.machines) == 5
    assert "the cluster has all of its 5 nodes, or they are on their way" in " ".join(scene.said)


def test_what_there_was_over_time_is_kept_and_goes_on_after_another_start() -> None:
    scene = Scene(waiting=2)
    scene.run(5.0)
    scene.head.waiting = 0
    scene.loop = scene.another()
    scene.run(5.0)
    figures = [each.figures() for each in scene.head.moments]
    assert figures == [(0, 0, 2), (0, 1, 2), (0, 2, 2), (0, 2, 0)]


def test_a_long_history_stays_small() -> None:
    history = History([])
    for number in range(10_000):
        history.note(Moment(float(number), number % 7, 0, number))
    assert len(history.moments) <= 1000
    assert history.moments[-1].at == 9999.0
    assert [each.at for each in history.moments] == sorted(each.at for each in history.moments)


def test_the_end_gives_everything_back() -> None:
    scene = Scene(waiting=3)
    scene.run(5.0)
    scene.loop.end()
    assert (
        set(scene.place.released)
        == set(scene.place.machines)
        == {
            "worker-1",
            "worker-2",
            "worker-3",
        }
    )
