"""Actors: order, exit, handles, methods, generators."""

# ruff: noqa: UP028 -- Ray drives generators by send(), which `yield from` a range does not have

import atexit
import os
import pickle
import sys
import tempfile
import threading
import time

import ray
from observing import case, got, main, outcome, raised, say, until
from ray.exceptions import ActorDiedError, RayActorError


@ray.remote
class Log:
    def __init__(self):
        self.lines = []

    def add(self, line):
        self.lines.append(line)
        return len(self.lines)

    def all(self):
        return self.lines

    def pid(self):
        return os.getpid()


@ray.remote
class Tidy:
    def __init__(self, path):
        self.path = path

    def __ray_shutdown__(self):
        main = threading.current_thread() is threading.main_thread()
        with open(self.path, "a") as file:
            file.write(f"main thread: {main}, {ray.get_runtime_context().get_actor_name()}")
        raise ValueError("nobody hears this")

    def ready(self):
        return True

    def leave(self):
        ray.actor.exit_actor()

    def exit(self):
        sys.exit(3)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@case
def calls_keep_their_order():
    log = Log.remote()
    for i in range(200):
        log.add.remote(i)
    say(ray.get(log.all.remote()) == list(range(200)))


@case
def each_caller_has_its_own_order():
    log = Log.remote()

    @ray.remote
    def caller(log, name):
        for i in range(50):
            log.add.remote((name, i))
        return ray.get(log.add.remote((name, 50)))

    ray.get([caller.remote(log, x) for x in "ab"])
    lines = ray.get(log.all.remote())
    say([[i for n, i in lines if n == x] == list(range(51)) for x in "ab"])


@case
def a_handle_pickled_by_hand():
    log = Log.remote()
    data = ray.cloudpickle.dumps(log)
    again = pickle.loads(data)
    ray.get([again.add.remote(1), log.add.remote(2)])
    say(sorted(ray.get(log.all.remote())), again == log, again._actor_id == log._actor_id)

    @ray.remote
    def use(data):
        return ray.get(pickle.loads(data).add.remote(3))

    say(got(use.remote(data)))


@case
def exit_actor_outside_and_inside(tmp="exit-marks"):
    folder = os.path.abspath(tmp)
    os.makedirs(folder, exist_ok=True)
    say(outcome(ray.actor.exit_actor))

    @ray.remote
    def in_a_task():
        ray.actor.exit_actor()

    say(got(in_a_task.remote()))

    @ray.remote
    class Leaves:
        def leave(self):
            atexit.register(lambda: open(os.path.join(folder, "atexit"), "w").close())
            time.sleep(0.3)
            ray.actor.exit_actor()

        def touch(self):
            open(os.path.join(folder, "touched"), "w").close()

    actor = Leaves.remote()
    first = actor.leave.remote()
    queued = actor.touch.remote()
    say(got(first), got(queued))
    say(got(actor.touch.remote()))
    say(until(lambda: os.path.exists(os.path.join(folder, "atexit"))))
    say(os.path.exists(os.path.join(folder, "touched")))


@case
def an_actor_ends_with_its_last_handle():
    log = Log.remote()
    pid = ray.get(log.pid.remote())
    say(alive(pid))
    del log
    say(until(lambda: not alive(pid)))


@case
def queued_calls_still_run_when_the_last_handle_goes():
    log = Log.remote()
    ref = log.add.remote(5)
    del log
    say(got(ref))
    ref = Log.remote().add.remote(1)
    say(got(ref))


@case
def kill():
    log = Log.remote()
    pid = ray.get(log.pid.remote())
    ray.kill(log)
    error = raised(ray.get, log.pid.remote(), timeout=20)
    say(type(error).__name__, isinstance(error, RayActorError))
    say(until(lambda: not alive(pid)))
    say(outcome(ray.kill, log))
    for wrong in (1, None, "x", ray.put(1)):
        say(outcome(ray.kill, wrong))


@case
def special_methods():
    log = Log.remote()
    say(got(log.__ray_ready__.remote()))
    say(got(log.__ray_call__.remote(lambda self, x: (self.lines, x), 7)))
    log.__ray_terminate__.remote()
    say(until(lambda: raised(ray.get, log.pid.remote(), timeout=20) is not None))


@case
def last_words():
    def told(end, **options):
        path = os.path.join(tempfile.mkdtemp(), "words")
        tidy = Tidy.options(**options).remote(path)
        ray.get(tidy.ready.remote(), timeout=25)
        end(tidy)
        del tidy
        said = until(lambda: os.path.exists(path) and os.path.getsize(path), seconds=3)
        return open(path).read() if said else None

    say(told(lambda x: None), told(lambda x: None, max_concurrency=3))
    say(told(lambda x: x.__ray_terminate__.remote(), name="by name"))
    say(told(lambda x: raised(ray.get, x.leave.remote(), timeout=25)))
    say(told(lambda x: raised(ray.get, x.exit.remote(), timeout=25)))


@case
def constructor_that_fails():
    @ray.remote
    class Bad:
        def __init__(self):
            raise ValueError("no way")

        def method(self):
            return 1

    error = raised(ray.get, Bad.remote().method.remote(), timeout=25)
    say(type(error).__name__, isinstance(error, ActorDiedError), "no way" in str(error))


@case
def a_failed_constructor_argument():
    @ray.remote
    def fails():
        raise ValueError("argument")

    @ray.remote
    class Takes:
        def __init__(self, x):
            self.x = x

        def value(self):
            return self.x

    error = raised(ray.get, Takes.remote(fails.remote()).value.remote(), timeout=25)
    say(isinstance(error, RayActorError))
    say(got(Takes.remote(ray.put(3)).value.remote()))


@case
def inheritance():
    class Base:
        def hello(self):
            return "base"

        @classmethod
        def make(cls):
            return cls.__name__

        @staticmethod
        def static(x):
            return x + 1

    @ray.remote
    class Child(Base):
        def hello(self):
            return super().hello() + " child"

    actor = Child.remote()
    say(got(actor.hello.remote()), got(actor.make.remote()), got(actor.static.remote(1)))


@case
def several_returns_and_generators():
    @ray.remote
    class Many:
        @ray.method(num_returns=2)
        def pair(self):
            return 1, 2

        def items(self, n):
            for i in range(n):
                yield i

        def plain(self):
            return [1, 2, 3]

    actor = Many.remote()
    say(ray.get(actor.pair.remote()))
    say(ray.get(actor.plain.options(num_returns=3).remote()))
    say(type(actor.items.remote(3)).__name__)
    say([ray.get(x) for x in actor.items.remote(3)])
    say(got(actor.plain.remote()))


@case
def errors_leave_the_actor_usable():
    @ray.remote
    class Fails:
        def fail(self):
            raise KeyError("x")

        def fine(self):
            return "fine"

    actor = Fails.remote()
    say(got(actor.fail.remote()), got(actor.fine.remote()))


@case
def handles_in_actors_and_actors_in_actors():
    @ray.remote
    class Outer:
        def __init__(self):
            self.inner = Log.remote()

        def get_inner(self):
            return self.inner

        def add(self, x):
            return ray.get(self.inner.add.remote(x))

    outer = Outer.remote()
    inner = ray.get(outer.get_inner.remote())
    say(got(outer.add.remote(1)), got(inner.add.remote(2)))


@case
def what_a_handle_looks_like():
    log = Log.remote()
    say(repr(log).startswith("Actor(Log, "), len(log._actor_id.hex()))
    say(type(Log).__name__, type(log).__name__)
    say("add" in dir(log))
    say(outcome(lambda: log.unknown))
    say(outcome(lambda: log.lines))
    say(log._ray_actor_id.hex() == log._actor_id.hex())
    say(Log.__ray_actor_class__.__name__)
    say({log: 1}[log])


@case
def wrong_arguments():
    say(outcome(Log.remote, 1))
    log = Log.remote()
    say(outcome(log.add.remote))
    say(outcome(log.add.remote, 1, 2))
    refused = raised(lambda: log.add.options(nonsense=1)) is not None
    say("options", "refused" if refused else "taken")


@case
def dunder_methods():
    @ray.remote
    class Callable:
        def __call__(self, x):
            return x * 2

        def _private(self):
            return "private"

    actor = Callable.remote()
    say(got(actor.__call__.remote(4)), got(actor._private.remote()))


@case
def max_pending_calls():
    @ray.remote(max_pending_calls=2)
    class Slow:
        def wait(self):
            time.sleep(1)

    actor = Slow.remote()
    ray.get(actor.__ray_ready__.remote())
    refs = []

    def flood():
        for _ in range(10):
            refs.append(actor.wait.remote())

    say(outcome(flood))
    ray.kill(actor)


@case
def actors_default_to_one_cpu_for_placing_and_none_while_alive():
    before = ray.cluster_resources()["CPU"]
    actors = [Log.remote() for _ in range(6)]
    say(len({ray.get(x.pid.remote()) for x in actors}))
    say(until(lambda: ray.available_resources().get("CPU") == before))
    held = Log.options(num_cpus=1).remote()
    ray.get(held.pid.remote())
    say(until(lambda: ray.available_resources().get("CPU") == before - 1))
    del held, actors
    say(until(lambda: ray.available_resources().get("CPU") == before))


@case
def killed_right_after_creation():
    big = ray.put(b"x" * 1_000_000)

    @ray.remote
    class Borrows:
        def __init__(self, refs):
            self.value = ray.get(refs[0])

    for _ in range(3):
        Borrows.remote([big])
        ray.kill(Borrows.remote([big]))
    before = ray.cluster_resources()["CPU"]
    say(until(lambda: ray.available_resources().get("CPU") == before))


if __name__ == "__main__":
    main()
