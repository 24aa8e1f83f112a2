"""What `explain` makes of the controller's answers: they count the waiting job itself as ahead."""

from __future__ import annotations

import time

import pytest

from rayhpc.batch.slurm.explain import gain, gain_elsewhere

HOUR = 3_600.0
UNLIMITED = 67_108_863 * 60.0  # what a waiting job without a limit adds to every answer


@pytest.mark.parametrize("added", [0.0, HOUR, UNLIMITED])
def test_a_gain_is_the_difference_to_the_script_as_it_is(added: float) -> None:
    now = time.time()
    promised = now + 5 * HOUR
    assert gain(now + added, promised + added, promised) == "would start now"
    later = gain(now + 2 * HOUR + added, promised + added, promised)
    assert later.startswith("would start at ")
    assert gain(promised + added, promised + added, promised) == ""


@pytest.mark.parametrize(
    ("sooner", "words"),
    [(30.0, ""), (600.0, "10 min"), (3 * HOUR, "3 hours"), (365 * 24 * HOUR, "365 days")],
)
def test_without_a_promise_only_the_difference_is_known(sooner: float, words: str) -> None:
    now = time.time()
    said = gain(now + UNLIMITED, now + UNLIMITED + sooner, None)
    assert said == (f"would start {words} sooner" if words else "")


def test_what_could_never_start_as_it_is() -> None:
    assert gain(time.time() + UNLIMITED, None, None) == "could start at all"


def test_another_partition_is_told_as_the_controller_says() -> None:
    now = time.time()
    assert gain_elsewhere(now, now + HOUR) == "would start now"
    assert gain_elsewhere(now + HOUR, now + HOUR) == ""
    assert gain_elsewhere(now, None) == "would start now"
    # Nothing is known to compare this with.
    assert gain_elsewhere(now + HOUR, None) == ""


def test_another_year_is_named() -> None:
    now = time.time()
    year = time.strftime("%Y", time.localtime(now + 800 * 24 * HOUR))
    assert year in gain_elsewhere(now + 800 * 24 * HOUR, now + 900 * 24 * HOUR)
