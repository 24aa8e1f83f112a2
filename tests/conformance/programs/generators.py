"""Streaming and dynamic generators."""

# ruff: noqa: UP028 -- Ray drives generators by send(), which `yield from` a range does not have

import asyncio
import os
import time

import ray
from observing import case, got, main, outcome, raised, say, until


@ray.remote
def items(n):
    for i in range(n):
        yield i


@ray.remote
def breaks(n):
    for i in range(n):
        yield i
    raise ValueError("broken")


@ray.remote
class Count:
    def __init__(self):
        self.n = 0

    def add(self):
        self.n += 1

    def get(self):
        return self.n


def values(stream):
    return [ray.get(x) for x in stream]


@case
def a_stream_of_references():
    stream = items.remote(3)
    say(type(stream).__name__, isinstance(stream, ray.ObjectRefGenerator))
    first = next(stream)
    say(type(first).__name__, ray.get(first), values(stream))
    say(outcome(next, stream), outcome(next, stream))
    say(iter(stream) is stream)
    say(values(items.remote(0)))
    say(values(items.options(num_returns="streaming").remote(2)))


@case
def a_failure_is_one_reference():
    stream = breaks.remote(2)
    found = [got(x) for x in stream]
    say(found)
    say(outcome(next, stream), outcome(next, stream))


@case
def of_actors():
    @ray.remote
    class Makes:
        def items(self, n):
            for i in range(n):
                yield i

        def breaks(self):
            yield 1
            raise KeyError

    actor = Makes.remote()
    say(values(actor.items.remote(3)), [got(x) for x in actor.breaks.remote()])


@case
def back_pressure_holds_the_producer():
    count = Count.remote()

    @ray.remote(_generator_backpressure_num_objects=2)
    def counted(count):
        for i in range(8):
            ray.get(count.add.remote())
            yield i

    stream = counted.remote(count)
    until(lambda: ray.get(count.get.remote()) >= 2)
    time.sleep(0.5)
    say(ray.get(count.get.remote()) < 5)
    say(values(stream), ray.get(count.get.remote()))


@case
def dropping_it_lets_the_producer_run_on():
    @ray.remote(num_cpus=0)
    class Count:
        def __init__(self):
            self.made = 0

        def add(self):
            self.made += 1

        def value(self):
            return self.made

    @ray.remote(_generator_backpressure_num_objects=1)
    def five(count):
        for index in range(5):
            ray.get(count.add.remote())
            yield index

    count = Count.remote()
    stream = five.remote(count)
    next(stream)
    say(until(lambda: ray.get(count.value.remote()) == 2))
    del stream
    say(until(lambda: ray.get(count.value.remote()) == 5))


@case
def its_callers_end_releases_the_producer():
    before = ray.cluster_resources()["CPU"]

    @ray.remote(_generator_backpressure_num_objects=1)
    def endless():
        while True:
            yield b"x"

    @ray.remote(num_cpus=0)
    class Caller:
        def start(self):
            self.stream = endless.remote()
            return ray.get(next(self.stream))

    caller = Caller.remote()
    say(got(caller.start.remote()))
    ray.kill(caller)
    say(until(lambda: ray.available_resources().get("CPU", 0) == before))


@case
def asynchronous_iteration():
    async def main():
        found = []
        async for ref in items.remote(3):
            found.append(await ref)
        stream = breaks.remote(1)
        errors = []
        async for ref in stream:
            try:
                errors.append(await ref)
            except ValueError:
                errors.append("ValueError")
        try:
            await stream.__anext__()
        except StopAsyncIteration:
            errors.append("StopAsyncIteration")
        return found, errors

    say(asyncio.run(main()))


@case
def completed():
    stream = items.remote(2)
    say(got(stream.completed()))
    say(outcome(ray.get, breaks.remote(0).completed(), timeout=20))


@case
def dynamic():
    @ray.remote(num_returns="dynamic")
    def dynamic(n):
        for i in range(n):
            yield i

    ref = dynamic.remote(3)
    say(type(ref).__name__)
    made = ray.get(ref)
    say(type(made).__name__, values(made))
    say(values(ray.get(ref)))

    @ray.remote
    def consume(generator):
        return values(generator)

    say(got(consume.remote(ref)))

    @ray.remote(num_returns="dynamic")
    def fails():
        yield 1
        raise ValueError

    say(outcome(lambda: [got(x) for x in ray.get(fails.remote(), timeout=20)]))


@case
def fixed_number_from_a_generator():
    say(ray.get(items.options(num_returns=3).remote(3)))


@case
def large_items():
    @ray.remote
    def large():
        for i in range(5):
            yield bytes([i]) * 500_000

    say([x[:1] + str(len(x)).encode() for x in values(large.remote())])


@case
def a_stream_is_not_passed_on():
    say(
        outcome(
            lambda: ray.get(
                Count.remote().__ray_call__.remote(lambda *_: 1, items.remote(1)), timeout=10
            )
        ).startswith("raises")
    )
    say(outcome(ray.put, items.remote(1)).startswith("raises"))


@case
def get_of_a_generator():
    stream = items.remote(2)
    say(outcome(lambda: type(ray.get(stream)).__name__))


@case
def made_again_after_a_crash(tmp="crash-mark"):
    file = os.path.abspath(tmp)

    @ray.remote(max_retries=2)
    def crashing():
        for i in range(4):
            if i == 2 and not os.path.exists(file):
                open(file, "w").close()
                os._exit(1)
            yield i

    say(values(crashing.remote()))


@case
def a_task_that_returns_a_generator_object():
    @ray.remote
    def wraps():
        return (i for i in range(3))

    say(raised(lambda: values(ray.get(wraps.remote(), timeout=20))) is not None)
    say(outcome(lambda: ray.get(wraps.options(num_returns=3).remote(), timeout=20)))


@case
def retried_by_choice():
    count = Count.remote()

    @ray.remote(max_retries=2, retry_exceptions=True)
    def flaky(count):
        yield 1
        ray.get(count.add.remote())
        if ray.get(count.get.remote()) < 2:
            raise ValueError
        yield 2

    say(values(flaky.remote(count)))


@case
def is_finished_and_ready():
    stream = items.remote(1)
    say(stream.is_finished())
    values(stream)
    say(outcome(next, stream), stream.is_finished())
    say(raised(lambda: items.options(_generator_backpressure_num_objects=0)) is not None)


if __name__ == "__main__":
    main()
