"""`wait`: order, counts, generators, what it refuses."""

# ruff: noqa: UP028 -- Ray drives generators by send(), which `yield from` a range does not have

import time

import ray
from observing import case, main, outcome, say, until


@ray.remote
def after(seconds, value=None):
    time.sleep(seconds)
    return value


@ray.remote
def fails():
    raise ValueError


@ray.remote
def items(n):
    for i in range(n):
        yield i


def positions(things, found):
    return [things.index(x) for x in found]


@case
def ready_ones_come_in_the_order_given():
    refs = [ray.put(i) for i in range(5)]
    ray.wait(refs, num_returns=5, timeout=20)
    for count in (5, 3, 1):
        ready, rest = (positions(refs, x) for x in ray.wait(refs, num_returns=count))
        say(count, len(ready), len(rest), ready == sorted(ready), rest == sorted(rest))
    slow = after.remote(1000)
    mixed = [slow, *refs]
    ready, rest = ray.wait(mixed, num_returns=2, timeout=20)
    order = positions(mixed, rest)
    say(len(ready), len(rest), slow in rest, order == sorted(order))
    ready, rest = ray.wait(mixed, num_returns=6, timeout=0.2)
    say(positions(mixed, ready), positions(mixed, rest))
    ray.cancel(slow, force=True)


@case
def timeout_zero_means_look():
    slow = after.remote(1000)
    begun = time.monotonic()
    say(len(ray.wait([slow], timeout=0)[0]), time.monotonic() - begun < 60)
    one = ray.put(1)
    say(len(ray.wait([slow, one], timeout=0)[0]))
    ray.cancel(slow, force=True)


@case
def a_failed_one_is_ready():
    refs = [fails.remote()]
    say([len(x) for x in ray.wait(refs, timeout=20)])


@case
def equality_and_hash_of_what_comes_back():
    refs = {after.remote(0, i): i for i in range(4)}
    found = []
    waiting = list(refs)
    while waiting:
        ready, waiting = ray.wait(waiting, timeout=20)
        found += [refs[x] for x in ready]
    say(sorted(found))


@case
def generators_and_references():
    stream = items.options(num_returns="streaming").remote(1)
    one = ray.put(1)
    ready, rest = ray.wait([stream, one], num_returns=2, timeout=20)
    say(ready[0] is stream, ready[1] == one, rest)
    next(stream)
    say(until(lambda: len(ray.wait([stream], timeout=0.2)[0]) == 1))
    say(len(ray.wait([stream], timeout=5)[0]))


@case
def what_it_refuses():
    one, two = ray.put(1), ray.put(2)
    say("twice", outcome(ray.wait, [one, one]))
    say("single", outcome(ray.wait, one))
    say("text", outcome(ray.wait, ["x"]))
    say("tuple", outcome(ray.wait, (one,)))
    say("number", outcome(ray.wait, [1]))
    say("none", outcome(ray.wait, []))
    say("too many", outcome(ray.wait, [one, two], num_returns=3))
    say("zero", outcome(ray.wait, [one], num_returns=0))
    say("negative", outcome(ray.wait, [one], num_returns=-1))
    say("past", outcome(ray.wait, [one], timeout=-1))


@case
def without_fetching():
    ref = after.remote(0, b"x" * 300_000)
    ready, rest = ray.wait([ref], fetch_local=False, timeout=20)
    say(len(ready), len(rest))


if __name__ == "__main__":
    main()
