"""The hand-over, line by line: every order that was tried ends, and only one thread ever leads."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any

import pytest

from rayhpc.wire import handover
from rayhpc.wire.handover import Handover
from tests.wire.stepping import Choose, SteppedThread, Stepper, at_random, with_one_switch

# Set to try many more orders; takes minutes.
LONG = bool(os.environ.get("RAYHPC_LONG_TESTS"))
RANDOM_RUNS = 2000 if LONG else 100
SWITCHES_UP_TO = 250 if LONG else 110


class Scene:
    """A hand-over, a mailbox as its network, and the rule that one thread leads at a time."""

    def __init__(self, choose: Choose, patch: Any) -> None:
        self.stepper = Stepper(handover, choose, patch)
        self.handover = Handover()
        self.mail: list[str] = []
        self.arrived: set[str] = set()
        self.leaders = 0
        self.pumping = 0

    def thread(self, target: Callable[[], object]) -> SteppedThread:
        return self.stepper.thread(target)

    def alone(self) -> None:
        """Something that must not be done by two threads at a time."""
        assert self.leaders == 0
        self.leaders += 1
        self.stepper.block(lambda: True)
        self.leaders -= 1

    def woken(self) -> bool:
        return bool(select.select([self.handover.wake_fd], [], [], 0)[0])

    def pump(self, timeout: float | None) -> None:
        self.alone()
        self.pumping = handover.get_ident()
        # With a timeout the poll may end at any moment.
        self.stepper.block(lambda: timeout is not None or bool(self.mail) or self.woken())
        if self.woken():
            self.handover.drain()
        self.arrived.update(self.mail)
        self.mail.clear()
        self.pumping = 0
        self.alone()

    def wait_for(self, what: str, timeout: float | None = None) -> bool:
        return self.handover.wait(lambda: what in self.arrived, self.pump, timeout)

    def act(self, what: str) -> None:
        with self.handover.lead():
            self.alone()
            with self.handover.lead():
                self.alone_inside()
            self.arrived.add(what)

    def alone_inside(self) -> None:
        self.leaders += 1
        self.stepper.block(lambda: True)
        self.leaders -= 1
        assert self.leaders == 0

    def post(self, what: str) -> None:
        self.stepper.block(lambda: True)
        self.mail.append(what)


def two_wait_one_acts(scene: Scene) -> list[SteppedThread]:
    """Without the background: a wake-up that gets lost is a deadlock."""
    return [
        scene.thread(lambda: scene.wait_for("a")),
        scene.thread(lambda: scene.wait_for("b")),
        scene.thread(lambda: (scene.act("a"), scene.act("b"))),
    ]


def three_wait_for_mail(scene: Scene) -> list[SteppedThread]:
    return [
        scene.thread(lambda: scene.wait_for("a")),
        scene.thread(lambda: scene.wait_for("b")),
        scene.thread(lambda: scene.wait_for("c")),
        scene.thread(lambda: (scene.post("b"), scene.post("c"), scene.post("a"))),
    ]


def some_are_impatient(scene: Scene) -> list[SteppedThread]:
    return [
        scene.thread(lambda: scene.wait_for("never", 0.005)),
        scene.thread(lambda: scene.wait_for("never", 0.005)),
        scene.thread(lambda: scene.wait_for("a")),
        scene.thread(lambda: scene.act("a")),
    ]


def told_by_wake_waiters(scene: Scene) -> list[SteppedThread]:
    """A flag that no leader can see is set, as a signal handler does it."""
    flags: set[str] = set()

    def wait(flag: str) -> None:
        me = handover.get_ident()
        mine = lambda: handover.get_ident() == me and flag in flags  # noqa: E731
        assert scene.handover.wait(mine, scene.pump)

    def tell(flag: str) -> None:
        flags.add(flag)
        scene.handover.wake_waiters()

    return [
        scene.thread(lambda: wait("end")),
        scene.thread(lambda: (wait("a"), tell("end"))),
        scene.thread(lambda: tell("a")),
    ]


def the_background_serves(scene: Scene) -> list[SteppedThread]:
    scene.handover.start(scene.pump)
    seen = lambda: "x" in scene.arrived and "y" in scene.arrived  # noqa: E731
    return [
        scene.thread(lambda: scene.post("x")),
        scene.thread(lambda: scene.stepper.block(seen)),
        scene.thread(lambda: (scene.act("y"), scene.wait_for("x"))),
    ]


def the_background_comes_back(scene: Scene) -> list[SteppedThread]:
    scene.handover.start(scene.pump)

    def busy() -> None:
        scene.act("y")
        scene.wait_for("x", 0.01)
        scene.post("z")
        scene.stepper.block(lambda: "z" in scene.arrived)

    return [scene.thread(busy)]


def the_background_makes_room(scene: Scene) -> list[SteppedThread]:
    """Who waits does the I/O: the background lets it before anything has come."""
    scene.handover.start(scene.pump)
    waiting = scene.thread(lambda: scene.wait_for("x"))

    def post() -> None:
        scene.stepper.block(lambda: scene.pumping == waiting.ident)
        scene.post("x")

    return [waiting, scene.thread(post)]


def a_follower_is_excused(scene: Scene) -> list[SteppedThread]:
    """Who leads waits for something that comes only after the follower has what it waits for."""
    return [
        scene.thread(lambda: scene.wait_for("end")),
        scene.thread(lambda: (scene.wait_for("a"), scene.post("end"))),
        scene.thread(lambda: scene.post("a")),
    ]


def somebody_stops_it(scene: Scene) -> list[SteppedThread]:
    scene.handover.start(scene.pump)

    def refused(what: Callable[[], object]) -> None:
        try:
            what()
        except RuntimeError as error:
            assert "left its cluster" in str(error)

    def stop() -> None:
        scene.handover.stop()
        scene.act("after")  # who has stopped it leads for ever

    return [
        scene.thread(stop),
        scene.thread(lambda: refused(lambda: scene.wait_for("never"))),
        scene.thread(lambda: refused(lambda: scene.wait_for("never"))),
        scene.thread(lambda: refused(lambda: scene.act("perhaps"))),
    ]


SCENES = [
    two_wait_one_acts,
    three_wait_for_mail,
    some_are_impatient,
    told_by_wake_waiters,
    the_background_serves,
    the_background_comes_back,
    the_background_makes_room,
    a_follower_is_excused,
    somebody_stops_it,
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda x: x.__name__)
def test_in_random_orders(scene: Callable[[Scene], list[SteppedThread]]) -> None:
    for seed in range(RANDOM_RUNS):
        with pytest.MonkeyPatch.context() as patch:
            stage = Scene(at_random(seed), patch)
            try:
                stage.stepper.run(scene(stage))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("scene", SCENES, ids=lambda x: x.__name__)
def test_with_a_switch_at_every_line(scene: Callable[[Scene], list[SteppedThread]]) -> None:
    for at in range(SWITCHES_UP_TO):
        for to in range(3):
            with pytest.MonkeyPatch.context() as patch:
                stage = Scene(with_one_switch(at, to), patch)
                try:
                    stage.stepper.run(scene(stage))
                except AssertionError as error:
                    raise AssertionError(f"switch at {at} to {to}: {error}") from error
