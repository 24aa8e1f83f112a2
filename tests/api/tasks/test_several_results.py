"""A task with several results that fails after some of them, or yields too many or too few."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc.exceptions import RayTaskError

LARGE = 200_000


@pytest.fixture(params=["here", "far"])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options that put a task or actor on the driver's node, or on the other of two."""
    if request.param == "here":
        request.getfixturevalue("ray")
        return {"num_cpus": 0.5}
    request.getfixturevalue("nodes")
    return {"num_cpus": 0.5, "resources": {"far": 0.01}}


def yields(kinds: str) -> Iterator[Any]:
    """One value for each letter: small, large, reference inside; `!` raises."""
    for i, kind in enumerate(kinds):
        if kind == "!":
            raise ValueError(f"after {i}")
        yield {"s": i, "l": bytes([i]) * LARGE, "r": [rayhpc.put(i)]}[kind]


def value_of(found: Any) -> Any:
    """A small description of what `yields` has made."""
    if isinstance(found, list):
        return "r", rayhpc.get(found[0], timeout=20)
    return ("l", found[0]) if isinstance(found, bytes) else ("s", found)


def outcome(ref: Any) -> Any:
    try:
        return value_of(rayhpc.get(ref, timeout=20))
    except RayTaskError as error:
        return str(error.cause).split("\n")[0]


def as_task(place: dict[str, Any], returns: Any) -> Callable[[str], Any]:
    task = rayhpc.remote(yields).options(num_returns=returns, max_retries=0, **place)
    return task.remote


def as_method(place: dict[str, Any], returns: Any) -> Callable[[str], Any]:
    @rayhpc.remote
    class Actor:
        def method(self, kinds: str) -> Iterator[Any]:
            return yields(kinds)

    return Actor.options(**place).remote().method.options(num_returns=returns).remote


def as_threaded_method(place: dict[str, Any], returns: Any) -> Callable[[str], Any]:
    @rayhpc.remote(max_concurrency=3)
    class Actor:
        def method(self, kinds: str) -> Iterator[Any]:
            return yields(kinds)

    return Actor.options(**place).remote().method.options(num_returns=returns).remote


HOW = [as_task, as_method, as_threaded_method]
KINDS = [("s", 0), ("l", 1), ("r", 2), ("s", 3)]


@pytest.mark.parametrize("how", HOW)
def test_results_before_an_error_keep_their_values(
    place: dict[str, Any], how: Callable[..., Any]
) -> None:
    call = how(place, 5)
    for made in range(5):
        refs = call("slrs"[:made] + "!")
        expected = [*KINDS[:made], *[f"after {made}"] * (5 - made)]
        assert [outcome(x) for x in refs] == expected
        with pytest.raises(ValueError, match=f"after {made}"):
            rayhpc.get(refs, timeout=20)


@pytest.mark.parametrize("how", HOW)
def test_too_many_keep_the_first_and_too_few_say_so(
    place: dict[str, Any], how: Callable[..., Any]
) -> None:
    call = how(place, 3)  # an actor owns what it has put
    assert [outcome(x) for x in call("slrs")] == KINDS[:3]
    few = [outcome(x) for x in how(place, 4)("sl")]
    assert few[:2] == KINDS[:2]
    assert few[2] == few[3]
    assert "num_returns=4" in few[2]


@pytest.mark.parametrize("how", HOW)
def test_a_late_error_of_a_dynamic_generator_is_its_last_item(
    place: dict[str, Any], how: Callable[..., Any]
) -> None:
    call = how(place, "dynamic")
    assert [outcome(x) for x in rayhpc.get(call("slr!"), timeout=20)] == [*KINDS[:3], "after 3"]
    assert outcome(call("!")) == "after 0"


@pytest.mark.usefixtures("ray")
def test_an_endless_generator_is_asked_for_no_more_than_it_has_results() -> None:
    endless = rayhpc.remote(lambda: (i for i in itertools.count())).options(num_returns=3)
    assert rayhpc.get(endless.remote(), timeout=20) == [0, 1, 2]


@pytest.mark.usefixtures("ray")
def test_a_task_that_is_tried_again_makes_all_of_its_results_anew(tmp_path: Path) -> None:
    @rayhpc.remote(num_returns=3, max_retries=2, retry_exceptions=True)
    def unsteady() -> Iterator[Any]:
        with open(tmp_path / "tries", "a") as tries:
            tries.write("x")
        tried = len((tmp_path / "tries").read_text())
        yield [rayhpc.put(tried)]
        yield bytes([tried]) * LARGE
        if tried < 3:
            raise ValueError("not yet")
        yield tried

    assert [outcome(x) for x in unsteady.remote()] == [("r", 3), ("l", 3), ("s", 3)]
