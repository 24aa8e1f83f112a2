"""The thread of a loop: it ends at once, whatever the place is busy with."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from rayhpc.elastic.turns import Turns
from rayhpc.elastic.types import Machine
from tests.elastic.test_loop import Scene

_LIMIT_S = 60.0


def test_a_place_that_does_not_answer_holds_up_no_end() -> None:
    scene, asked, answers = Scene(), threading.Event(), threading.Event()

    def look() -> Sequence[Machine]:
        asked.set()
        answers.wait(_LIMIT_S)
        return []

    scene.place.list = look  # type: ignore[method-assign]
    turns = Turns(scene.loop)
    assert asked.wait(_LIMIT_S)
    assert not turns.end(within_s=0.0)
    answers.set()
    assert turns.end(_LIMIT_S)
    assert scene.place.asked == []


def test_it_goes_on_until_it_is_ended() -> None:
    scene = Scene()
    turns, waiting = Turns(scene.loop), threading.Event()
    while not scene.place.asked:
        scene.now += 1.0  # what waits must do so for a while
        waiting.wait(0.01)
    assert turns.end(_LIMIT_S)
    assert scene.place.asked == [("worker-1",)]
