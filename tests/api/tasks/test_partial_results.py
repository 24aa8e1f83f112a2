"""Results before an error keep their values; one budget of retries for crashes and exceptions."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rayhpc
from rayhpc import exceptions
from rayhpc.util.state import list_objects
from tests.api.actors.counter import wait_for


def _yields(count: int, size: int, fails: bool) -> Any:
    for i in range(count):
        yield np.full(size, i, np.uint8)
    if fails:
        raise ValueError("after some")


class _Actor:
    def yields(self, count: int, size: int, fails: bool) -> Any:
        yield from _yields(count, size, fails)


@pytest.fixture(params=["task", "actor"])
def yields(place: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    if request.param == "task":
        return rayhpc.remote(_yields).options(max_retries=0, num_cpus=0.1, **place)
    return rayhpc.remote(_Actor).options(**place).remote().yields


def _shown(refs: list[Any]) -> list[Any]:
    found: list[Any] = []
    for ref in refs:
        try:
            found.append(int(rayhpc.get(ref, timeout=20)[0]))
        except ValueError as error:
            found.append(type(error).__mro__[1].__name__)
    return found


@pytest.mark.parametrize("size", [10, 500_000])
def test_values_before_an_error_stay(yields: Any, size: int) -> None:
    refs = yields.options(num_returns=3).remote(1, size, True)
    assert _shown(refs) == [0, "RayTaskError", "RayTaskError"]
    with pytest.raises(ValueError, match="after some"):
        rayhpc.get(refs, timeout=20)
    made = rayhpc.get(yields.options(num_returns="dynamic").remote(2, size, True), timeout=20)
    assert _shown(list(made)) == [0, 1, "RayTaskError"]


@pytest.mark.parametrize("size", [10, 500_000])
def test_of_too_many_the_first_are_kept_and_of_too_few_the_rest_fail(
    yields: Any, size: int
) -> None:
    assert _shown(yields.options(num_returns=3).remote(4, size, False)) == [0, 1, 2]
    few = yields.options(num_returns=3).remote(2, size, False)
    assert _shown(few) == [0, 1, "RayTaskError"]


@pytest.mark.parametrize("size", [10, 500_000])
def test_the_only_item_is_the_one_result(yields: Any, size: int) -> None:
    one = yields.options(num_returns=1)
    assert _shown([one.remote(1, size, False), one.remote(2, size, False)]) == [0, 0]


def test_an_error_at_once_is_that_of_the_generator(yields: Any) -> None:
    with pytest.raises(ValueError, match="after some"):
        rayhpc.get(yields.options(num_returns="dynamic").remote(0, 10, True), timeout=20)


def test_items_of_dynamic_generators_are_freed(yields: Any) -> None:
    for _ in range(3):
        made = yields.options(num_returns="dynamic").remote(3, 500_000, False)
        refs = list(rayhpc.get(made, timeout=20))
        rayhpc.get(refs, timeout=20)
        ids = {x.hex() for x in [made, *refs]}
        del made, refs
    gc.collect()
    wait_for(lambda: not ids & {x.object_id for x in list_objects()})


def _yields_unless_it_dies(marks: str, dies_at: list[int]) -> Any:
    run = len(os.listdir(marks))
    Path(marks, str(run)).touch()
    for i in range(4):
        if run < len(dies_at) and dies_at[run] == i:
            os._exit(1)
        yield np.full(500_000, i, np.uint8)


def test_dynamic_generators_whose_worker_dies_run_again(
    place: dict[str, Any], tmp_path: Path
) -> None:
    task = rayhpc.remote(_yields_unless_it_dies).options(num_returns="dynamic", **place)
    made = task.options(max_retries=2).remote(str(tmp_path), [3, 1])
    assert _shown(list(rayhpc.get(made, timeout=40))) == [0, 1, 2, 3]
    made = task.options(max_retries=0).remote(str(tmp_path), [9, 9, 9, 2])
    with pytest.raises(exceptions.WorkerCrashedError):
        rayhpc.get(made, timeout=40)
    gc.collect()
    ids = {made.hex()}
    del made
    wait_for(lambda: not ids & {x.object_id for x in list_objects()})


def _does(marks: str, plan: list[str]) -> str:
    number = len(os.listdir(marks))
    Path(marks, str(number)).touch()
    if plan[number] == "die":
        os._exit(1)
    if plan[number] == "raise":
        raise ValueError("x")
    return "ran"


class _Does:
    @rayhpc.method(retry_exceptions=[ValueError])
    def does(self, marks: str, plan: list[str]) -> str:
        return _does(marks, plan)


@pytest.mark.parametrize(
    "plan",
    [["raise", "die", "raise"], ["die", "raise", "raise"], ["raise", "raise", "die"]],
    ids="-".join,
)
@pytest.mark.parametrize("kind", ["task", "actor"])
def test_crashes_and_exceptions_use_up_the_same_retries(
    place: dict[str, Any], tmp_path: Path, plan: list[str], kind: str
) -> None:
    if kind == "task":
        task = rayhpc.remote(_does).options(max_retries=2, retry_exceptions=True, **place)
        ref = task.remote(str(tmp_path), [*plan, "ok"])
    else:
        options = {"max_restarts": 5, "max_task_retries": 2, **place}
        ref = (
            rayhpc.remote(_Does)
            .options(**options)
            .remote()
            .does.remote(str(tmp_path), [*plan, "ok"])
        )
    with pytest.raises(exceptions.RayError):
        rayhpc.get(ref, timeout=40)
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize("kind", ["task", "actor"])
def test_what_succeeds_within_them_does(place: dict[str, Any], tmp_path: Path, kind: str) -> None:
    plan = ["raise", "die", "ok"]
    if kind == "task":
        task = rayhpc.remote(_does).options(max_retries=2, retry_exceptions=True, **place)
        ref = task.remote(str(tmp_path), plan)
    else:
        options = {"max_restarts": 5, "max_task_retries": 2, **place}
        actor = rayhpc.remote(_Does).options(**options).remote()
        ref = actor.does.remote(str(tmp_path), plan)
    assert rayhpc.get(ref, timeout=40) == "ran"
