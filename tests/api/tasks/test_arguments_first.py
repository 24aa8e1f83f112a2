"""Arguments come before resources: what makes an argument may need what waits for it holds."""

from __future__ import annotations

import os
from typing import Any

from rayhpc.util.state import list_tasks
from tests.api.actors.counter import wait_for

NEEDS = {"num_gpus": 2, "resources": {"disk": 2}}


def test_what_makes_an_argument_gets_what_its_reader_holds(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Gate:
        def __init__(self) -> None:
            import asyncio

            self.is_open = asyncio.Event()

        async def open(self) -> None:
            self.is_open.set()

        async def passed(self) -> int:
            await self.is_open.wait()
            return 1

    @ray.remote(**NEEDS)
    def made(_: int) -> tuple[str, bytes]:
        return os.environ["CUDA_VISIBLE_DEVICES"], bytes(200_000)

    @ray.remote(**NEEDS)
    def reads(given: tuple[str, bytes]) -> tuple[str, str, list[str]]:
        return given[0], os.environ["CUDA_VISIBLE_DEVICES"], ray.get_gpu_ids()

    @ray.remote(num_cpus=0)
    def submits(boxed: list[Any]) -> list[Any]:
        # It does not own the argument, and does not know whether it is there.
        return [reads.options(name="reads_it").remote(boxed[0])]

    gate = Gate.remote()
    argument = made.remote(gate.passed.remote())
    (reader,) = ray.get(submits.remote([argument]), timeout=30)
    name = ("name", "=", "reads_it")
    wait_for(lambda: [x.state for x in list_tasks(filters=[name])] == ["RUNNING"])
    gate.open.remote()
    before, after, ids = ray.get(reader, timeout=30)
    assert sorted(before.split(",")) == sorted(after.split(",")) == ["0", "1"]
    assert [str(x) for x in ids] == after.split(",")
