"""What a driver does while the network is in trouble, with every answer checked.

Used by `scenario`.  Each *kind* of work goes on in a thread of its own.  An answer is right, wrong,
or an error that gives a reason.  What ran twice is read from files that every host shares: tasks
without retries write a line each time they run, and each life of the actor writes when it lived.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import rayhpc as ray
from rayhpc.exceptions import RayError
from rayhpc.util.scheduling_strategies import NodeAffinitySchedulingStrategy

LARGE = 12 * 2**20
BATCH = 8
PULSE_S = 0.02
# Between two rounds of a kind: they are to be under way all the time, not to load the machine.
PAUSE_S = 0.01
NO_ANSWER_S = 60.0


class WrongAnswerError(Exception):
    """An answer is not the known one."""


@ray.remote(max_retries=-1, scheduling_strategy="SPREAD")
def square(number: int) -> int:
    return number * number


@ray.remote(max_retries=0, scheduling_strategy="SPREAD")
def once(folder: str, number: int) -> int:
    with Path(folder, "once").open("ab", buffering=0) as file:
        file.write(b"%d\n" % number)
    return number + 1


@ray.remote(num_cpus=0, max_restarts=-1)
class Count:
    """Counts its calls; each life says all the time that it lives."""

    def __init__(self, folder: str) -> None:
        self._life = uuid.uuid4().hex
        self._count = 0
        self._file = Path(folder, f"life-{self._life}").open("wb", buffering=0)  # noqa: SIM115
        threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        while True:
            self._file.write(b"%.6f\n" % time.monotonic())
            time.sleep(PULSE_S)

    def add(self) -> tuple[str, int]:
        """Which life this is, and how often it has been called."""
        self._count += 1
        return self._life, self._count


def content(seed: int) -> Any:
    """An array that nobody makes by accident."""
    return np.random.default_rng(seed).integers(0, 256, LARGE, np.uint8)


@ray.remote(max_retries=-1)
def make(seed: int) -> Any:
    return content(seed)


@ray.remote(max_retries=-1)
def read(data: Any) -> str:
    return digest(data)


def digest(data: Any) -> str:
    """What tells arrays apart."""
    return hashlib.blake2b(data).hexdigest()


@dataclass
class Tally:
    """What has come of one kind of work."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    last_right: float = 0.0
    longest_s: float = 0.0


class Work:
    """All kinds of work, from `start` until `stop`.

    Args:
        folder: of files that tasks and actors write.
        far: the id of the node where things should be, while it lives.
    """

    def __init__(self, folder: Path, far: Callable[[], str]) -> None:
        self._folder = folder
        self._far = far
        self._stopping = threading.Event()
        self._moved = threading.Condition()
        kinds = {
            "tasks": self._squares,
            "at-most-once tasks": self._onces,
            "actor": self._counts,
            "objects from there": self._made_there,
            "objects to there": self._read_there,
        }
        self.tallies = {name: Tally() for name in kinds}
        self._threads = [
            threading.Thread(target=self._rounds, args=(one, self.tallies[name]), daemon=True)
            for name, one in kinds.items()
        ]
        self._actor = Count.options(scheduling_strategy=self._there()).remote(str(folder))
        self._lives: list[str] = []
        self._count = self._lost_calls = 0

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def all_right_since(self, moment: float, within_s: float) -> float | None:
        """Wait until every kind has had a right answer after that moment.

        Returns:
            how long after that moment it was, in seconds; None: not in time.
        """
        with self._moved:
            done = self._moved.wait_for(
                lambda: min(x.last_right for x in self.tallies.values()) > moment, within_s
            )
        return time.monotonic() - moment if done else None

    def stop(self) -> list[str]:
        """End, and say which kinds hang."""
        self._stopping.set()
        end = time.monotonic() + NO_ANSWER_S
        hanging = []
        for name, thread in zip(self.tallies, self._threads, strict=True):
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                hanging.append(name)
        return hanging

    def doubles(self) -> list[str]:
        """What ran twice."""
        ran = Counter((self._folder / "once").read_text().split())
        found = [f"task {number} ran {count} times" for number, count in ran.items() if count > 1]
        lives = sorted(_life(path) for path in self._folder.glob("life-*"))
        for (_, end), (begin, _) in itertools.pairwise(lives):
            if begin < end:
                found.append(f"two lives of the actor for {end - begin:.3f} s")
        return found

    def _rounds(self, one: Callable[[int], None], tally: Tally) -> None:
        number = 0
        while not self._stopping.wait(PAUSE_S):
            begin = time.monotonic()
            try:
                one(number)
            except WrongAnswerError as error:
                tally.wrong.append(str(error))
            except RayError as error:
                tally.errors.append(f"{type(error).__name__}: {error}")
            else:
                tally.right += 1
                # Answers to what was asked before the network was mended prove nothing.
                tally.last_right = begin
            tally.longest_s = max(tally.longest_s, time.monotonic() - begin)
            with self._moved:
                self._moved.notify_all()
            number += 1

    def _there(self) -> NodeAffinitySchedulingStrategy:
        return NodeAffinitySchedulingStrategy(self._far(), soft=True)

    def _squares(self, number: int) -> None:
        numbers = range(number * BATCH, (number + 1) * BATCH)
        check(ray.get([square.remote(i) for i in numbers]), [i * i for i in numbers])

    def _onces(self, number: int) -> None:
        numbers = range(number * BATCH, (number + 1) * BATCH)
        refs = [once.remote(str(self._folder), i) for i in numbers]
        error = None
        for i, ref in zip(numbers, refs, strict=True):
            try:
                check(ray.get(ref), i + 1)
            except RayError as raised:
                error = raised
        if error is not None:
            raise error

    def _counts(self, _: int) -> None:
        try:
            life, count = ray.get(self._actor.add.remote())
        except RayError:
            self._lost_calls += 1
            raise
        if life not in self._lives:
            self._lives.append(life)
            self._count = 0
        check(life, self._lives[-1])
        if not self._count < count <= self._count + self._lost_calls + 1:
            raise WrongAnswerError(f"the actor says {count} after {self._count}")
        self._count, self._lost_calls = count, 0

    def _made_there(self, number: int) -> None:
        made = make.options(scheduling_strategy=self._there()).remote(number)
        check(digest(ray.get(made)), digest(content(number)))

    def _read_there(self, number: int) -> None:
        data = content(number)
        found = read.options(scheduling_strategy=self._there()).remote(ray.put(data))
        check(ray.get(found), digest(data))


def check(got: Any, wanted: Any) -> None:
    """Raise WrongAnswerError unless they are equal."""
    if got != wanted:
        raise WrongAnswerError(f"{got!r} instead of {wanted!r}")


def _life(path: Path) -> tuple[float, float]:
    """When it began and ended; its last line may be torn."""
    lines = path.read_bytes().splitlines(keepends=True)
    stamps = [float(line) for line in lines if line.endswith(b"\n")]
    return (stamps[0], stamps[-1]) if stamps else (os.stat(path).st_mtime, 0.0)
