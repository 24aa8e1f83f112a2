"""Cancelling: running, queued, dependent, recursive, by others, in actors."""

import asyncio
import os
import time

import ray
from observing import case, main, outcome, raised, say, until
from ray.exceptions import TaskCancelledError, WorkerCrashedError


@ray.remote(max_retries=0)
def spin(marks, name="spin", seconds=60):
    end = time.monotonic() + seconds
    try:
        mark(marks, name)  # whoever sees it may cancel at once
        while time.monotonic() < end:
            time.sleep(0.01)
    except KeyboardInterrupt:
        mark(marks, name + "-interrupted")
        raise
    return "ended"


@ray.remote
def identity(value):
    return value


def got(ref):
    """As observing's, but all that is a TaskCancelledError is called so."""
    try:
        return repr(ray.get(ref, timeout=20))
    except TaskCancelledError:
        return "raises TaskCancelledError"
    except Exception as error:
        return f"raises {type(error).__name__}"


def mark(folder, name):
    open(os.path.join(folder, name), "w").close()


def folder(name):
    path = os.path.abspath(name)
    os.makedirs(path, exist_ok=True)
    return path


def there(marks, name):
    return until(lambda: os.path.exists(os.path.join(marks, name)))


@case
def running_code_gets_keyboard_interrupt():
    marks = folder("running")
    ref = spin.remote(marks)
    dependent = identity.remote(ref)
    there(marks, "spin")
    ray.cancel(ref)
    say(got(ref), got(dependent))
    say(there(marks, "spin-interrupted"))
    error = raised(ray.get, ref)
    say(isinstance(error, TaskCancelledError), isinstance(error, KeyboardInterrupt))


@case
def a_queued_task_never_starts():
    marks = folder("queued")
    hold = spin.options(num_cpus=4).remote(marks, "hold", 1.5)
    there(marks, "hold")
    queued = [spin.options(num_cpus=4).remote(marks, f"queued{i}", 0) for i in range(3)]
    for ref in queued:
        ray.cancel(ref)
    say([got(x) for x in queued], got(hold))
    say(sorted(os.listdir(marks)))


@case
def while_it_waits_for_arguments():
    marks = folder("arguments")
    slow = spin.remote(marks)
    waiting = identity.remote(slow)
    ray.cancel(waiting)
    say(got(waiting))
    ray.cancel(slow, force=True)


class SlowToLoad:
    def __reduce__(self):
        return load_slowly, (os.path.abspath("loading"),)


def load_slowly(marks):
    mark(marks, "loading")
    for _ in range(3000):
        time.sleep(0.01)


@case
def while_arguments_are_deserialised():
    marks = folder("loading")
    ref = identity.options(max_retries=0).remote(SlowToLoad())
    there(marks, "loading")
    ray.cancel(ref)
    say(got(ref))


@case
def a_task_blocked_in_get():
    marks = folder("blocked")

    @ray.remote(max_retries=0)
    def block(refs):
        mark(marks, "blocked")
        return ray.get(refs[0])

    slow = spin.remote(marks)
    blocked = block.remote([slow])
    there(marks, "blocked")
    ray.cancel(blocked)
    say(got(blocked))
    ray.cancel(slow, force=True)


@case
def recursion_reaches_children():
    marks = folder("children")

    @ray.remote(max_retries=0)
    def parent(depth):
        if depth:
            return ray.get(parent.remote(depth - 1))
        return ray.get(spin.remote(marks))

    ref = parent.remote(1)
    there(marks, "spin")
    ray.cancel(ref, recursive=True)
    say(got(ref), there(marks, "spin-interrupted"))


@case
def without_recursion_children_go_on():
    marks = folder("alone")

    @ray.remote(max_retries=0)
    def parent():
        child = spin.remote(marks, "spin", 2)
        return ray.get(child)

    ref = parent.remote()
    there(marks, "spin")
    ray.cancel(ref, recursive=False)
    say(got(ref))
    time.sleep(0.5)
    say(os.path.exists(os.path.join(marks, "spin-interrupted")))


@case
def a_third_party_cancels_through_a_borrowed_reference():
    marks = folder("borrowed")

    @ray.remote
    def cancel(refs):
        ray.cancel(refs[0])

    ref = spin.remote(marks)
    there(marks, "spin")
    ray.get(cancel.remote([ref]), timeout=20)
    say(got(ref), there(marks, "spin-interrupted"))


@case
def force_ends_the_worker():
    marks = folder("force")

    @ray.remote
    def stubborn():
        mark(marks, "stubborn")
        while True:
            try:
                time.sleep(10)
            except KeyboardInterrupt:
                pass

    ref = stubborn.remote()
    there(marks, "stubborn")
    ray.cancel(ref, force=True)
    error = raised(ray.get, ref, timeout=25)
    say(isinstance(error, (TaskCancelledError, WorkerCrashedError)))


@case
def what_has_ended_stays():
    ref = identity.remote(5)
    say(got(ref))
    say(outcome(ray.cancel, ref), got(ref))
    say(outcome(ray.cancel, ray.put(1)))


@case
def wrong_things():
    for wrong in (1, "x", None, [identity.remote(1)]):
        say(type(wrong).__name__, outcome(ray.cancel, wrong))


@case
def an_async_actors_method():
    marks = folder("async")

    @ray.remote
    class Async:
        async def wait(self):
            mark(marks, "waiting")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                mark(marks, "cancelled")
                raise

        async def fine(self):
            return "fine"

    actor = Async.remote()
    ref = actor.wait.remote()
    there(marks, "waiting")
    ray.cancel(ref)
    say(got(ref), there(marks, "cancelled"), got(actor.fine.remote()))
    say(outcome(ray.cancel, actor.wait.remote(), force=True))


@case
def queued_calls_of_actors():
    marks = folder("calls")

    @ray.remote
    class Plain:
        def wait(self, seconds):
            mark(marks, "waiting")
            time.sleep(seconds)
            return "ended"

        def touch(self):
            mark(marks, "touched")

    actor = Plain.remote()
    first = actor.wait.remote(2)
    there(marks, "waiting")
    queued = actor.touch.remote()
    ray.cancel(queued)
    say(got(queued), got(first))
    say(os.path.exists(os.path.join(marks, "touched")))


@case
def recursion_reaches_actor_calls():
    marks = folder("actor-children")

    @ray.remote
    class Async:
        async def wait(self):
            mark(marks, "waiting")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                mark(marks, "cancelled")
                raise

    @ray.remote(max_retries=0)
    def parent(actor):
        return ray.get(actor.wait.remote())

    actor = Async.remote()
    ref = parent.remote(actor)
    there(marks, "waiting")
    ray.cancel(ref)
    say(got(ref), there(marks, "cancelled"))


@case
def a_generator():
    marks = folder("generator")

    @ray.remote(max_retries=0)
    def items():
        yield 1
        mark(marks, "yielded")
        time.sleep(60)
        yield 2

    stream = items.remote()
    say(got(next(stream)))
    there(marks, "yielded")
    ray.cancel(stream)

    def rest():
        for ref in stream:
            ray.get(ref, timeout=20)

    say(isinstance(raised(rest), TaskCancelledError))


@case
def cancelled_tasks_are_not_retried():
    marks = folder("retried")

    @ray.remote(max_retries=5, retry_exceptions=True)
    def count():
        mark(marks, str(len(os.listdir(marks))))
        for _ in range(1000):
            time.sleep(0.02)

    ref = count.remote()
    there(marks, "0")
    ray.cancel(ref)
    say(got(ref), len(os.listdir(marks)))


@case
def one_can_ask_whether_it_is_cancelled():
    marks = folder("asked")

    @ray.remote(max_concurrency=2)
    class Threaded:
        def work(self):
            mark(marks, "work")
            end = time.monotonic() + 20
            while time.monotonic() < end:
                if ray.get_runtime_context().is_canceled():
                    mark(marks, "seen")
                    return "seen"
                time.sleep(0.01)
            return "never"

    actor = Threaded.remote()
    ref = actor.work.remote()
    there(marks, "work")
    ray.cancel(ref)
    say(there(marks, "seen"))
    say(got(ref))

    @ray.remote
    def asks():
        return ray.get_runtime_context().is_canceled()

    say(got(asks.remote()))


@case
def running_calls_of_actors():
    marks = folder("running-calls")

    @ray.remote
    class Plain:
        def work(self):
            mark(marks, "work")
            for _ in range(100):
                time.sleep(0.02)
            return "ended"

        def fine(self):
            return "fine"

    actor = Plain.remote()
    ref = actor.work.remote()
    there(marks, "work")
    ray.cancel(ref)
    say(got(ref), got(actor.fine.remote()))


if __name__ == "__main__":
    main()
