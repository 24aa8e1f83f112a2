"""The joblib backend."""

from __future__ import annotations

import os
from typing import Any

import pytest

import rayhpc

joblib = pytest.importorskip("joblib", reason="joblib is not installed (extra 'guests')")
numpy = pytest.importorskip("numpy")

from rayhpc.util.joblib import RayBackend, register_ray, register_rayhpc  # noqa: E402

pytestmark = pytest.mark.usefixtures("cluster")
register_rayhpc()


def square(x: int) -> int:
    return x * x


def fail_on(x: int, bad: int) -> int:
    if x == bad:
        raise ZeroDivisionError(x)
    return x


def test_results_come_in_order_from_other_processes() -> None:
    with joblib.parallel_config(backend="ray"):
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(square)(x) for x in range(50)) == [
            x * x for x in range(50)
        ]
        pids = joblib.Parallel(n_jobs=4)(joblib.delayed(os.getpid)() for _ in range(8))
    assert os.getpid() not in pids


def test_all_cpus_of_the_cluster_are_used_unless_told() -> None:
    backend = RayBackend()
    assert backend.effective_n_jobs(-1) == 4
    assert backend.effective_n_jobs(-2) == 3
    assert backend.effective_n_jobs(3) == 3
    assert backend.effective_n_jobs(None) == 1
    with pytest.raises(ValueError):
        backend.effective_n_jobs(0)
    with joblib.parallel_config(backend="rayhpc"):
        assert joblib.effective_n_jobs(-1) == 4


def test_short_calls_are_batched() -> None:
    with joblib.parallel_config(backend="ray"):
        parallel = joblib.Parallel(n_jobs=2, batch_size="auto")
        assert sum(parallel(joblib.delayed(square)(x) for x in range(3000))) == sum(
            x * x for x in range(3000)
        )
        assert parallel.n_completed_tasks == 3000
        assert parallel.n_dispatched_batches < 1500


def test_results_may_be_taken_as_they_come() -> None:
    with joblib.parallel_config(backend="ray"):
        results = joblib.Parallel(n_jobs=2, return_as="generator_unordered")(
            joblib.delayed(square)(x) for x in range(20)
        )
        assert sorted(results) == [x * x for x in range(20)]


def test_an_error_is_raised_with_its_type_and_the_next_call_works() -> None:
    with joblib.parallel_config(backend="ray"):
        with pytest.raises(ZeroDivisionError):
            joblib.Parallel(n_jobs=2)(joblib.delayed(fail_on)(x, 7) for x in range(50))
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(square)(x) for x in range(3)) == [0, 1, 4]


def test_large_arrays_go_to_the_store_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[Any] = []
    put = rayhpc.put

    def counting(value: Any) -> Any:
        stored.append(value)
        return put(value)

    monkeypatch.setattr(rayhpc, "put", counting)
    shared = numpy.arange(300_000)

    def total(array: Any, more: dict[str, Any]) -> tuple[int, bool]:
        return int(array.sum() + more["again"].sum()), bool(array.flags.writeable)

    with joblib.parallel_config(backend="ray"):
        found = joblib.Parallel(n_jobs=2, batch_size=1)(
            joblib.delayed(total)(shared, {"again": shared}) for _ in range(6)
        )
    assert found == [(2 * int(shared.sum()), False)] * 6
    assert len(stored) == 1


def test_parallel_inside_parallel() -> None:
    def outer(x: int) -> list[int]:
        found: list[int] = joblib.Parallel(n_jobs=2)(joblib.delayed(square)(x) for _ in range(3))
        return found

    with joblib.parallel_config(backend="ray"):
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(outer)(x) for x in range(3)) == [
            [0, 0, 0],
            [1, 1, 1],
            [4, 4, 4],
        ]


def test_options_of_the_tasks() -> None:
    def resources() -> float:
        return float(rayhpc.get_runtime_context().get_assigned_resources()["CPU"])

    register_ray()
    with joblib.parallel_config(backend="ray", ray_remote_args={"num_cpus": 2}):
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(resources)() for _ in range(2)) == [2, 2]


# Bytes of an array, just at joblib's own limit.
LIMIT = 1024 * 1024


def write_into(array: Any) -> Any:
    array[0] = 7
    return array


@pytest.mark.parametrize("nbytes", [8, 200_000, LIMIT])
def test_arrays_up_to_joblibs_limit_are_copies_to_write_to(nbytes: int) -> None:
    given = numpy.zeros(nbytes, numpy.uint8)
    with joblib.parallel_config(backend="ray"):
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(write_into)(given) for _ in range(3))
    for array in found:
        assert array.sum() == 7
        array.fill(1)  # and so are results
    assert given.sum() == 0


def test_larger_arrays_are_shared_as_joblib_is_told() -> None:
    given = numpy.zeros(LIMIT + 1, numpy.uint8)
    calls = [joblib.delayed(write_into)(given)] * 2
    with joblib.parallel_config(backend="ray"):
        with pytest.raises(ValueError, match="read-only"):
            joblib.Parallel(n_jobs=2)(calls)
        for told in ({"max_nbytes": None}, {"max_nbytes": "2M"}, {"mmap_mode": "c"}):
            for array in joblib.Parallel(n_jobs=2, **told)(calls):
                assert array.sum() == 7
                array.fill(1)
        with pytest.raises(ValueError, match="read-only"):
            joblib.Parallel(n_jobs=2, max_nbytes="200K")(calls)
    assert given.sum() == 0
