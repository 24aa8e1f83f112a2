"""Threaded and asynchronous actors, concurrency groups."""

import asyncio
import threading
import time

import ray
from observing import case, got, main, outcome, say, until


@ray.remote
class Gate:
    """Counts how many are inside at once."""

    def __init__(self):
        self.now = self.most = 0

    def enter(self):
        self.now += 1
        self.most = max(self.most, self.now)

    def leave(self):
        self.now -= 1

    def highest(self):
        return self.most

    def inside(self):
        return self.now


def at_once(**options):
    @ray.remote(**options)
    class Threaded:
        def work(self, gate):
            ray.get(gate.enter.remote())
            time.sleep(0.3)
            ray.get(gate.leave.remote())

    gate, actor = Gate.remote(), Threaded.remote()
    ray.get([actor.work.remote(gate) for _ in range(6)], timeout=30)
    return ray.get(gate.highest.remote())


@case
def threads():
    say(at_once(num_cpus=0), at_once(max_concurrency=3), at_once(max_concurrency=1))


@case
def async_methods_share_a_loop():
    @ray.remote
    class Async:
        def __init__(self):
            self.event = asyncio.Event()

        async def wait(self):
            await self.event.wait()
            return threading.get_ident()

        async def set(self):
            self.event.set()
            return threading.get_ident()

        def plain(self):
            return threading.get_ident()

    actor = Async.remote()
    waiting = [actor.wait.remote() for _ in range(20)]
    found = {ray.get(actor.set.remote(), timeout=20), *ray.get(waiting, timeout=20)}
    say(len(found), ray.get(actor.plain.remote()) in found)


@case
def the_limit_of_an_async_actor():
    @ray.remote(max_concurrency=2)
    class Async:
        def __init__(self):
            self.now = self.most = 0

        async def work(self):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.1)
            self.now -= 1
            return self.most

    actor = Async.remote()
    say(max(ray.get([actor.work.remote() for _ in range(6)], timeout=20)))


@case
def concurrency_groups():
    @ray.remote(concurrency_groups={"io": 2, "one": 1})
    class Groups:
        def __init__(self):
            self.lock = threading.Lock()
            self.now = {}
            self.most = {}

        def _work(self, name):
            with self.lock:
                self.now[name] = self.now.get(name, 0) + 1
                self.most[name] = max(self.most.get(name, 0), self.now[name])
            time.sleep(0.2)
            with self.lock:
                self.now[name] -= 1

        @ray.method(concurrency_group="io")
        def io(self):
            self._work("io")
            return threading.current_thread() is threading.main_thread()

        @ray.method(concurrency_group="one")
        def one(self):
            self._work("one")

        def default(self):
            self._work("default")

        def all(self):
            return sorted(self.most.items())

    actor = Groups.remote()
    refs = [x.remote() for x in (actor.io, actor.one, actor.default) for _ in range(4)]
    ray.get(refs, timeout=30)
    say(got(actor.all.remote()))
    say(got(actor.default.options(concurrency_group="io").remote()))
    say(
        outcome(
            lambda: ray.get(actor.default.options(concurrency_group="no").remote(), timeout=10)
        ).startswith("raises")
    )


@case
def async_groups():
    @ray.remote(concurrency_groups={"io": 1})
    class Groups:
        def __init__(self):
            self.is_set = False

        @ray.method(concurrency_group="io")
        async def wait(self):
            while not self.is_set:
                await asyncio.sleep(0.01)
            return "io"

        async def set(self):
            self.is_set = True
            return "set"

    actor = Groups.remote()
    waits = [actor.wait.remote() for _ in range(3)]
    say(got(actor.set.remote()), ray.get(waits, timeout=20))


@case
def blocking_get_in_an_async_method():
    @ray.remote
    def one():
        return 1

    @ray.remote
    class Async:
        async def blocks(self):
            return ray.get(one.remote())

        async def awaits(self):
            return await one.remote()

        async def gathers(self):
            return await asyncio.gather(*[one.remote() for _ in range(3)])

        async def waits(self):
            done, _ = ray.wait([one.remote()])
            return len(done)

    actor = Async.remote()
    say(got(actor.blocks.remote()), got(actor.awaits.remote()), got(actor.gathers.remote()))
    say(got(actor.waits.remote()))


@case
def async_errors_and_generators():
    @ray.remote
    class Async:
        async def fail(self):
            raise KeyError("x")

        async def items(self, n):
            for i in range(n):
                await asyncio.sleep(0)
                yield i

    actor = Async.remote()
    say(got(actor.fail.remote()))
    say([ray.get(x) for x in actor.items.remote(3)])


@case
def an_async_actor_exits():
    @ray.remote
    class Async:
        async def leave(self):
            ray.actor.exit_actor()

        async def ping(self):
            return 1

    actor = Async.remote()
    say(got(actor.ping.remote()), got(actor.leave.remote()), got(actor.ping.remote()))


@case
def tasks_cannot_be_async():
    say(outcome(lambda: ray.get(ray.remote(asyncio.sleep).remote(0))).startswith("raises"))


@case
def threaded_calls_of_several_callers_do_not_block_each_other():
    @ray.remote(max_concurrency=2)
    class Meets:
        def __init__(self):
            self.barrier = threading.Barrier(2)

        def meet(self):
            self.barrier.wait(20)
            return "met"

    actor = Meets.remote()
    say(ray.get([actor.meet.remote(), actor.meet.remote()], timeout=25))


@case
def context_of_a_thread():
    @ray.remote(max_concurrency=4)
    class Ids:
        def task(self):
            time.sleep(0.1)
            return ray.get_runtime_context().get_task_id()

    actor = Ids.remote()
    say(len(set(ray.get([actor.task.remote() for _ in range(4)]))))
    say(until(lambda: True))


if __name__ == "__main__":
    main()
