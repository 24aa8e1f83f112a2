"""Remote functions: arguments, results, errors, retries."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc import exceptions


class _OddError(Exception):
    """Its constructor takes what its pickle does not have."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class _UnpicklableError(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


@rayhpc.remote
def add(a: int, b: int = 1) -> int:
    return a + b


@rayhpc.remote
def fail(text: str) -> None:
    raise ValueError(text)


def test_arguments_by_position_and_name(ray: Any) -> None:
    assert ray.get(add.remote(1)) == 2
    assert ray.get(add.remote(1, b=5)) == 6
    assert ray.get(add.remote(a=1, b=7)) == 8


def test_many_tasks(ray: Any) -> None:
    assert ray.get([add.remote(i) for i in range(500)]) == list(range(1, 501))


def test_arguments_that_do_not_fit_are_refused_at_the_call(ray: Any) -> None:
    with pytest.raises(TypeError, match="missing a required argument"):
        add.remote()
    with pytest.raises(TypeError, match="unexpected keyword"):
        add.remote(1, c=2)


def test_references_at_top_level_become_values_and_inside_stay_references(ray: Any) -> None:
    @ray.remote
    def kinds(direct: Any, inside: list[Any], named: Any = None) -> list[str]:
        return [type(direct).__name__, type(inside[0]).__name__, type(named).__name__]

    one = ray.put(1)
    assert ray.get(kinds.remote(one, [one], named=one)) == ["int", "ObjectRef", "int"]


def test_a_chain_of_tasks(ray: Any) -> None:
    ref = add.remote(0)
    for _ in range(20):
        ref = add.remote(ref)
    assert ray.get(ref) == 21


def test_functions_that_capture_values_functions_and_references(ray: Any) -> None:
    kept = ray.put("kept")

    def helper() -> str:
        return "helped"

    @ray.remote
    def captures() -> tuple[str, str]:
        return helper(), rayhpc.get(kept)

    assert ray.get(captures.remote()) == ("helped", "kept")


def test_recursion_deeper_than_there_are_cpus(ray: Any) -> None:
    @ray.remote
    def down(n: int) -> int:
        return 0 if n == 0 else 1 + rayhpc.get(down.remote(n - 1))

    assert ray.get(down.remote(8), timeout=30) == 8


@pytest.mark.parametrize("count", [1, 2, 24])
def test_several_results(ray: Any, count: int) -> None:
    @ray.remote
    def several(n: int) -> Any:
        return list(range(n)) if n > 1 else 0

    refs = several.options(num_returns=count).remote(count)
    refs = refs if isinstance(refs, list) else [refs]
    assert ray.get(refs) == list(range(count))


def test_no_result_and_a_wrong_number_of_them(ray: Any) -> None:
    assert add.options(num_returns=0).remote(1) is None
    with pytest.raises((TypeError, ValueError), match="num_returns=3"):
        ray.get(add.options(num_returns=3).remote(1))

    @ray.remote(num_returns=3)
    def two() -> list[int]:
        return [1, 2]

    with pytest.raises(ValueError, match="returned 2 values"):
        ray.get(two.remote())


def test_large_arguments_and_results(ray: Any) -> None:
    numpy = pytest.importorskip("numpy")

    @ray.remote
    def double(x: Any) -> Any:
        return x * 2

    x = numpy.arange(100_000)
    result = ray.get(double.remote(x))
    assert (result == x * 2).all()
    assert not result.flags.writeable


# -- errors --------------------------------------------------------------------------------------
def test_an_error_keeps_its_type_and_names_where_it_was_raised(ray: Any) -> None:
    with pytest.raises(ValueError, match="wrong") as caught:
        ray.get(fail.remote("wrong"))
    error: Any = caught.value
    assert isinstance(error, exceptions.RayTaskError)
    assert error.pid != os.getpid()
    assert "fail" in str(error)
    assert "raise ValueError(text)" in str(error)
    assert isinstance(error.cause, ValueError)


def test_an_error_that_passes_through_several_gets(ray: Any) -> None:
    @ray.remote
    def outer(inner: list[Any]) -> Any:
        return rayhpc.get(inner[0])

    ref = outer.remote([outer.remote([fail.remote("deep")])])
    with pytest.raises(ValueError, match="deep") as caught:
        ray.get(ref)
    assert isinstance(caught.value, exceptions.RayTaskError)


def test_an_argument_that_no_code_raised_is_told_apart(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Gone:
        def value(self) -> int:
            return 1

    gone = Gone.remote()
    ray.kill(gone)
    with pytest.raises(
        ray.exceptions.RayTaskError,
        match="At least one of the input arguments for this task could not be computed",
    ) as found:
        ray.get(add.remote(gone.value.remote(), 1), timeout=30)
    assert isinstance(found.value.cause, ray.exceptions.ActorDiedError)


def test_an_error_of_an_argument_is_the_task_s(ray: Any) -> None:
    with pytest.raises(ValueError, match="first"):
        ray.get(add.remote(fail.remote("first")))


@pytest.mark.parametrize("kind", [_OddError, _UnpicklableError])
def test_errors_that_cannot_travel_arrive_readable(ray: Any, kind: Any) -> None:
    @ray.remote
    def odd() -> None:
        raise kind(1, 2) if kind is _OddError else kind()

    words = "1 and 2" if kind is _OddError else "holds a lock"
    with pytest.raises(exceptions.RayTaskError, match=words):
        ray.get(odd.remote(), timeout=20)


def test_errors_of_final_classes_arrive_readable(ray: Any) -> None:
    @ray.remote
    def final() -> None:
        class FinalError(Exception):
            def __init_subclass__(cls) -> None:
                raise TypeError("final")

        raise FinalError("of a final class")

    with pytest.raises(exceptions.RayTaskError, match="of a final class"):
        ray.get(final.remote(), timeout=20)


def test_leaving_a_task_by_sys_exit_is_a_crash(ray: Any) -> None:
    @ray.remote(max_retries=0)
    def leave() -> None:
        sys.exit(3)

    with pytest.raises(exceptions.WorkerCrashedError):
        ray.get(leave.remote(), timeout=20)


def test_a_crash_is_retried_and_at_last_reported(ray: Any, tmp_path: Path) -> None:
    @ray.remote
    def crash(marks: str, times: int) -> str:
        count = len(os.listdir(marks))
        open(os.path.join(marks, str(count)), "w").close()
        if count < times:
            os._exit(1)
        return f"after {count}"

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert ray.get(crash.remote(str(tmp_path / "a"), 2), timeout=30) == "after 2"
    with pytest.raises(exceptions.WorkerCrashedError, match="crash"):
        ray.get(crash.options(max_retries=1).remote(str(tmp_path / "b"), 5), timeout=30)
    assert len(os.listdir(tmp_path / "b")) == 2


@pytest.mark.parametrize(
    ("retry", "runs"), [(False, 1), (True, 3), ([ValueError], 3), ([KeyError], 1)]
)
def test_retrying_on_exceptions(ray: Any, tmp_path: Path, retry: Any, runs: int) -> None:
    @ray.remote(max_retries=2, retry_exceptions=retry)
    def mark_and_fail(marks: str) -> None:
        open(os.path.join(marks, str(len(os.listdir(marks)))), "w").close()
        raise ValueError("again")

    with pytest.raises(ValueError, match="again"):
        ray.get(mark_and_fail.remote(str(tmp_path)), timeout=20)
    assert len(os.listdir(tmp_path)) == runs


def test_max_calls_ends_the_worker(ray: Any) -> None:
    @ray.remote(max_calls=1)
    def pid() -> int:
        return os.getpid()

    assert len(set(ray.get([pid.remote() for _ in range(3)], timeout=30))) == 3


# -- what cannot be sent -------------------------------------------------------------------------
class _Model:
    def __init__(self) -> None:
        self.parts = {"lock": threading.Lock()}


def test_an_argument_that_cannot_be_pickled_is_named_to_the_attribute(ray: Any) -> None:
    with pytest.raises(TypeError, match=r"argument 0\.parts\['lock'\] of add\(\).*lock"):
        add.remote(_Model())
    with pytest.raises(TypeError, match=r"argument 'b'"):
        add.remote(1, b=threading.Lock())


def test_a_function_that_cannot_be_pickled_names_what_it_captures(ray: Any) -> None:
    lock = threading.Lock()

    @ray.remote
    def captures() -> bool:
        return lock.locked()

    with pytest.raises(TypeError, match="variable 'lock'"):
        captures.remote()


# -- options -------------------------------------------------------------------------------------
def test_the_name_of_a_task(ray: Any) -> None:
    @ray.remote(name="called so")
    def name() -> str | None:
        return rayhpc.get_runtime_context().get_task_name()

    assert ray.get(name.remote()) == "called so"


def test_environment_variables(ray: Any) -> None:
    @ray.remote
    def variable() -> str | None:
        return os.environ.get("OF_A_TEST")

    env = {"env_vars": {"OF_A_TEST": "given"}}
    assert ray.get(variable.options(runtime_env=env).remote(), timeout=30) == "given"
    assert ray.get(variable.remote(), timeout=30) is None


def test_children_inherit_the_environment(ray: Any) -> None:
    @ray.remote
    def variable() -> str | None:
        return os.environ.get("OF_A_TEST")

    @ray.remote
    def parent() -> str | None:
        found: str | None = rayhpc.get(variable.remote())
        return found

    env = {"env_vars": {"OF_A_TEST": "inherited"}}
    assert ray.get(parent.options(runtime_env=env).remote(), timeout=30) == "inherited"


def test_a_folder_and_modules_come_along(ray: Any, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "data.txt").write_text("data")
    module = tmp_path / "brought_along.py"
    module.write_text("VALUE = 42\n")

    @ray.remote
    def look() -> tuple[str, int]:
        import brought_along  # type: ignore[import-not-found]

        return Path("data.txt").read_text(), brought_along.VALUE

    env = {"working_dir": str(folder), "py_modules": [str(module)]}
    assert ray.get(look.options(runtime_env=env).remote(), timeout=30) == ("data", 42)


def test_gpus_are_the_task_s_own(ray: Any) -> None:
    @ray.remote(num_gpus=1)
    def mine() -> tuple[str, list[Any]]:
        time.sleep(0.2)
        return os.environ["CUDA_VISIBLE_DEVICES"], rayhpc.get_gpu_ids()

    @ray.remote
    def none() -> tuple[str | None, list[Any]]:
        return os.environ.get("CUDA_VISIBLE_DEVICES"), rayhpc.get_gpu_ids()

    found = ray.get([mine.remote(), mine.remote()], timeout=30)
    assert {x for x, _ in found} == {"0", "1"}
    assert all([str(i) for i in ids] == [x] for x, ids in found)
    assert ray.get(none.remote(), timeout=30) == ("", [])
    assert ray.get_gpu_ids() == []


def test_custom_resources_bound_how_many_run(ray: Any) -> None:
    @ray.remote(resources={"disk": 1})
    def when() -> tuple[float, float]:
        start = time.time()
        time.sleep(0.1)
        return start, time.time()

    spans = ray.get([when.remote() for _ in range(4)], timeout=30)
    for start, _ in spans:
        assert sum(a <= start < b for a, b in spans) <= 2


def test_a_traceback_shows_no_frame_of_the_runtime() -> None:
    @rayhpc.remote
    def fails() -> None:
        raise ValueError("here")

    @rayhpc.remote
    class Actor:
        def fails(self) -> None:
            raise ValueError("here")

        async def fails_later(self) -> None:
            raise ValueError("here")

    @rayhpc.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("here")

        def call(self) -> None:
            pass

    actor, broken = Actor.remote(), Broken.remote()
    refs = [
        fails.remote(),
        actor.fails.remote(),
        actor.fails_later.remote(),
        broken.call.remote(),
    ]
    for ref in refs:
        with pytest.raises((ValueError, rayhpc.exceptions.ActorDiedError)) as raised:
            rayhpc.get(ref)
        shown = str(raised.value)
        assert "test_tasks.py" in shown
        assert "rayhpc" + os.sep + "runtime" not in shown
