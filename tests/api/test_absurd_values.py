"""Times and texts that no program means: a clear error, or what they say, never a raw one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from rayhpc.cluster_utils import Cluster
from rayhpc.util.actor_pool import ActorPool
from rayhpc.util.futures import Executor
from rayhpc.util.multiprocessing import Pool
from rayhpc.util.queue import Queue
from rayhpc.util.scheduling_strategies import (
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
)
from rayhpc.util.state import list_tasks

ODD = "\udc80"
FOREVER = [1e300, math.inf, 10**30, pytest.param(10**5000, id="digits"), 2**63]
NO_TIME = [(math.nan, ValueError), ("5", TypeError), ([], TypeError), (True, TypeError)]


def _task(ray: Any, timeout: Any) -> Any:
    return ray.get(ray.remote(lambda: 1).remote(), timeout=timeout)


def _wait(ray: Any, timeout: Any) -> Any:
    return len(ray.wait([ray.remote(lambda: 1).remote()], timeout=timeout)[0])


def _group(ray: Any, timeout: Any) -> Any:
    group = ray.util.placement_group([{"CPU": 1}])
    try:
        return int(group.wait(timeout))
    finally:
        ray.util.remove_placement_group(group)


def _queue(ray: Any, timeout: Any) -> Any:
    queue: Queue = Queue()
    try:
        queue.put(1, timeout=timeout)
        return queue.get(timeout=timeout)
    finally:
        queue.shutdown()


def _pool(ray: Any, timeout: Any) -> Any:
    with Pool(1) as pool:
        return pool.apply_async(int, ("1",)).get(timeout)


def _executor(ray: Any, timeout: Any) -> Any:
    with Executor() as executor:
        return next(iter(executor.map(int, ["1"], timeout=timeout)))


def _actor_pool(ray: Any, timeout: Any) -> Any:
    @ray.remote
    class Echo:
        def say(self, value: int) -> int:
            return value

    pool: Any = ActorPool([Echo.remote()])
    pool.submit(lambda actor, value: actor.say.remote(value), 1)
    return pool.get_next(timeout=timeout)


def _listing(ray: Any, timeout: Any) -> Any:
    list_tasks(timeout=timeout)
    return 1


WAITS = [_task, _wait, _group, _queue, _pool, _executor, _actor_pool, _listing]


@pytest.mark.parametrize("timeout", FOREVER)
@pytest.mark.parametrize("wait", WAITS)
def test_a_time_without_end_is_for_ever(ray: Any, wait: Callable[..., Any], timeout: Any) -> None:
    assert wait(ray, timeout) == 1


@pytest.mark.parametrize(("timeout", "error"), NO_TIME)
@pytest.mark.parametrize("wait", WAITS)
def test_what_is_no_time_is_refused(
    ray: Any, wait: Callable[..., Any], timeout: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="number of seconds") as caught:
        wait(ray, timeout)
    assert type(caught.value) is error


def test_times_on_two_nodes(nodes: Cluster) -> None:
    import rayhpc

    @rayhpc.remote(resources={"far": 0.1})
    def far() -> int:
        return 1

    assert rayhpc.get(far.remote(), timeout=1e300) == 1
    assert len(rayhpc.wait([far.remote()], timeout=math.inf)[0]) == 1


@pytest.mark.parametrize("kind", ["task", "generator", "method"])
def test_a_name_that_no_utf8_can_write_runs(ray: Any, kind: str) -> None:
    def body(*_: Any) -> Any:
        return 7

    def items(*_: Any) -> Any:
        yield 7

    def run() -> Any:
        if kind == "generator":
            items.__name__ = ODD
            return ray.get(next(ray.remote(items).options(num_returns="streaming").remote()))
        body.__name__ = ODD
        if kind == "task":
            return ray.get(ray.remote(body).remote())
        actor = ray.remote(type("Actor", (), {"method": body})).remote()
        return ray.get(actor.method.remote())

    assert [run(), run()] == [7, 7]
    # The worker reports what it has run, under a name that can be written.
    names = {row.name for row in list_tasks(limit=10_000)}
    assert kind == "method" or "\\udc80" in names


@pytest.mark.parametrize(
    "call",
    [
        lambda ray: ray.get_actor(ODD),
        lambda ray: ray.get_actor("name", ODD),
        lambda ray: ray.util.placement_group([{"CPU": 1}], name=ODD),
        lambda ray: ray.util.placement_group([{ODD: 1}]),
        lambda ray: NodeLabelSchedulingStrategy(hard={"zone": In(ODD)}),
        lambda ray: NodeLabelSchedulingStrategy(hard={ODD: In("a")}),
        lambda ray: ray.remote(int).options(runtime_env={"env_vars": {"A": ODD}}),
    ],
)
def test_text_that_no_utf8_can_write_is_refused(ray: Any, call: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="UTF-8") as caught:
        call(ray)
    assert type(caught.value) in (ValueError, UnicodeEncodeError)


@pytest.mark.parametrize("node", [ODD, 5, None, b"x", "f" * 100_000])
def test_what_is_no_nodes_id_is_refused(node: Any) -> None:
    with pytest.raises(ValueError, match="56 hexadecimal digits") as caught:
        NodeAffinitySchedulingStrategy(node, soft=False)
    assert len(str(caught.value)) < 1000
