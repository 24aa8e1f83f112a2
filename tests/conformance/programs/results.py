"""Results and errors: what `get` returns and raises."""

import os
import time

import numpy
import ray
from observing import case, got, main, outcome, raised, say
from ray.exceptions import (
    ActorDiedError,
    GetTimeoutError,
    RayActorError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)


@ray.remote
def fail(error):
    raise error


@ray.remote
def never():
    time.sleep(1000)


@ray.remote
def identity(value):
    return value


@ray.remote
class Dies:
    def end(self):
        os._exit(1)

    def leave(self):
        raise SystemExit(3)

    def fine(self):
        return 1


@case
def get_of_a_list_raises_as_soon_as_one_has_failed():
    slow = never.remote()
    say(outcome(ray.get, [slow, fail.remote(KeyError("x"))], timeout=25))
    ray.cancel(slow, force=True)


@case
def also_when_it_is_a_dead_actors():
    slow = never.remote()
    actor = Dies.remote()
    say(outcome(ray.get, [slow, actor.end.remote()], timeout=25))
    ray.cancel(slow, force=True)


@case
def an_exception_through_several_gets():
    @ray.remote
    def outer(depth):
        return ray.get(outer.remote(depth - 1) if depth else fail.remote(KeyError("inner")))

    error = raised(ray.get, outer.remote(2), timeout=30)
    say(isinstance(error, KeyError), isinstance(error, RayTaskError), type(error).__name__)
    say(type(error.cause).__name__, error.cause.args, error.args)
    say("outer" in str(error), "fail" in str(error), "inner" in str(error))


class Unpicklable(Exception):
    def __init__(self):
        super().__init__("cannot travel")
        self.lock = __import__("threading").Lock()


class Unusual(Exception):
    def __init__(self, one, *, two):
        super().__init__(f"{one} and {two}")
        self.one = one


class Final(Exception):
    def __init_subclass__(cls, **kwargs):
        raise TypeError("final")


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@case
def exceptions_that_are_hard_to_carry():
    @ray.remote
    def make(kind):
        if kind == "unpicklable":
            raise Unpicklable
        if kind == "unusual":
            raise Unusual(1, two=2)
        if kind == "final":
            raise Final("the end")
        raise Unprintable

    for kind, text in [
        ("unpicklable", "cannot travel"),
        ("unusual", "1 and 2"),
        ("final", "the end"),
    ]:
        error = raised(ray.get, make.remote(kind), timeout=25)
        say(kind, isinstance(error, RayError), isinstance(error, RayTaskError), text in str(error))
    say("unprintable", isinstance(raised(ray.get, make.remote("x"), timeout=25), RayError))


@case
def a_base_exception_in_a_task():
    @ray.remote(max_retries=0)
    def leave():
        raise SystemExit(2)

    @ray.remote(max_retries=0)
    def own():
        class Own(BaseException):
            pass

        raise Own

    say(got(leave.remote()))
    say(got(own.remote()))


@case
def a_base_exception_in_an_actors_method_ends_it():
    actor = Dies.remote()
    say(got(actor.fine.remote()))
    error = raised(ray.get, actor.leave.remote(), timeout=25)
    say(type(error).__name__, isinstance(error, RayActorError), isinstance(error, ActorDiedError))
    say(got(actor.fine.remote()))


@case
def a_crashed_worker():
    @ray.remote(max_retries=0)
    def crash():
        os._exit(1)

    say(got(crash.remote()))
    say(issubclass(WorkerCrashedError, RayError), issubclass(WorkerCrashedError, RayTaskError))


@case
def a_failed_argument_fails_the_task():
    failed = fail.remote(ValueError("first"))
    error = raised(ray.get, identity.remote(failed), timeout=25)
    say(type(error).__name__, "first" in str(error))
    say(got(identity.remote([failed])).startswith("[ObjectRef("))


@case
def timeouts():
    slow = never.remote()
    error = raised(ray.get, slow, timeout=0.05)
    say(type(error).__name__, isinstance(error, TimeoutError), isinstance(error, RayError))
    say(outcome(ray.get, slow, timeout=0))
    say(outcome(ray.get, [ray.put(1), slow], timeout=0.05))
    say(outcome(ray.get, ray.put(1), timeout=0))
    say(outcome(ray.get, ray.put(1), timeout=-1))
    say(issubclass(GetTimeoutError, TimeoutError))
    ray.cancel(slow, force=True)


@case
def a_negative_timeout():
    say(outcome(ray.get, ray.put(1), timeout=-2))


@case
def what_get_takes():
    one = ray.put(1)
    say(outcome(ray.get, [one, one]), outcome(ray.get, []))
    for wrong in (1, "x", None, {"a": one}, (one,), {one}):
        say(type(wrong).__name__, outcome(ray.get, wrong))
    say(outcome(ray.get, [one, 1]))
    say(outcome(ray.get, [[one]]))


@case
def arguments():
    @ray.remote
    def show(a, b=2, *rest, c=3, **more):
        return a, b, rest, c, more

    one = ray.put(1)
    say(got(show.remote(one)))
    say(got(show.remote(0, one, one, c=one, d=one)))
    say(outcome(show.remote))
    say(outcome(show.remote, 1, a=2))
    say(got(identity.remote((one,))).startswith("(ObjectRef("))

    @ray.remote
    def none():
        return None

    say(outcome(none.remote, 1), outcome(none.remote, x=1))


@case
def how_many_returns():
    @ray.remote
    def values(n):
        return list(range(n)) if n != 1 else 0

    say(values.options(num_returns=0).remote(0))
    say(outcome(lambda: ray.get(values.options(num_returns=3).remote(3))))
    say(outcome(lambda: ray.get(values.options(num_returns=2).remote(3))))
    say(outcome(lambda: ray.get(values.options(num_returns=3).remote(2))))
    say(outcome(lambda: ray.get(values.options(num_returns=2).remote(1))))
    say(type(values.options(num_returns=2).remote(2)).__name__)
    say(len(values.options(num_returns=40).remote(40)))
    say(outcome(lambda: ray.get(values.options(num_returns=1).remote(3))))

    @ray.remote(num_returns=2)
    def fails():
        raise ValueError("both")

    say([got(x) for x in fails.remote()])

    @ray.remote(num_returns=2)
    def pair():
        yield 1
        yield 2

    say([got(x) for x in pair.remote()])

    @ray.remote(num_returns=2)
    def breaks():
        yield 1
        raise ValueError("second")

    say([got(x) for x in breaks.remote()])

    @ray.remote(num_returns=3)
    def few():
        yield 1

    say([got(x) for x in few.remote()][1:])


@case
def application_errors_are_retried_by_choice():
    @ray.remote
    class Count:
        def __init__(self):
            self.n = 0

        def add(self):
            self.n += 1
            return self.n

    def attempts(error, **options):
        count = Count.remote()

        @ray.remote(num_cpus=1, **options)
        def attempt():
            if ray.get(count.add.remote()) < 3:
                raise error

        result = got(attempt.remote())
        return result, ray.get(count.add.remote()) - 1

    say("no", attempts(KeyError()))
    say("all", attempts(KeyError(), retry_exceptions=True))
    say("listed", attempts(KeyError(), retry_exceptions=[KeyError]))
    say("base", attempts(KeyError(), retry_exceptions=[LookupError]))
    say("others", attempts(KeyError(), retry_exceptions=[ValueError]))
    say("few", attempts(KeyError(), retry_exceptions=True, max_retries=1))
    say("zero", attempts(KeyError(), retry_exceptions=True, max_retries=0))
    say("infinite", attempts(KeyError(), retry_exceptions=True, max_retries=-1))


@case
def crashes_are_retried(tmp="marks"):
    folder = os.path.abspath(tmp)
    os.makedirs(folder, exist_ok=True)

    @ray.remote
    def crash(name, times):
        file = os.path.join(folder, name)
        with open(file, "a") as marks:
            marks.write("x")
        if os.path.getsize(file) <= times:
            os._exit(1)
        return "done"

    def size(name):
        return os.path.getsize(os.path.join(folder, name))

    say(got(crash.remote("a", 2)), size("a"))
    say(got(crash.options(max_retries=1).remote("b", 5)), size("b"))
    say(got(crash.options(max_retries=0).remote("c", 5)), size("c"))


@case
def errors_and_crashes_are_counted_apart(tmp="apart"):
    file = os.path.abspath(tmp)

    @ray.remote(max_retries=1, retry_exceptions=True)
    def attempt(last):
        with open(file, "a") as marks:
            marks.write("x")
        turn = os.path.getsize(file)
        if turn == 1:
            os._exit(1)
        if turn == 2:
            raise ValueError
        return turn

    say(got(attempt.remote(3)), os.path.getsize(file))


@case
def large_values_are_read_only_views():
    array = numpy.arange(1_000_000)
    ref = ray.put(array)
    first, second = ray.get(ref), ray.get(ref)
    say(first.flags.writeable, first.flags.owndata, bool((first == array).all()))
    say(first.__array_interface__["data"][0] == second.__array_interface__["data"][0])
    say(outcome(first.__setitem__, 0, 1))

    @ray.remote
    def look(x):
        return x.flags.writeable, outcome(x.__setitem__, 0, 1), int(x.sum())

    say(got(look.remote(ref)))
    say(got(look.remote(array)))
    back = ray.get(identity.remote(ref))
    say(back.flags.writeable)
    small = ray.get(ray.put(numpy.arange(3)))
    say(bool((small == numpy.arange(3)).all()))


@case
def remote_traceback_in_the_text():
    def helper():
        raise ValueError("deep inside")

    @ray.remote
    def fails():
        helper()

    error = raised(ray.get, fails.remote(), timeout=25)
    text = str(error).replace("\x1b[36m", "").replace("\x1b[39m", "")
    say("helper" in text, "deep inside" in text, "pid=" in text, "ip=" in text)
    say(text.splitlines()[0].startswith("ray::"), "fails()" in text.splitlines()[0])
    say(text.splitlines()[-1])


@case
def builtin_fields_of_an_exception_survive():
    @ray.remote
    def fails():
        os.stat("/does/not/exist")

    error = raised(ray.get, fails.remote(), timeout=25)
    say(type(error).__name__, isinstance(error, FileNotFoundError), error.errno, error.filename)

    class Mine(Exception):
        def __init__(self, code):
            super().__init__(f"code {code}")
            self.code = code

    error = raised(ray.get, fail.remote(Mine(7)), timeout=25)
    say(outcome(lambda: error.code), error.cause.code, error.args)


@case
def one_object_of_another_size_when_made_again():
    @ray.remote
    class Turn:
        def __init__(self):
            self.n = 0

        def next(self):
            self.n += 1
            return self.n

    turn = Turn.remote()

    @ray.remote(max_retries=2, retry_exceptions=True)
    def sized():
        if ray.get(turn.next.remote()) == 1:
            os._exit(1)
        return 5

    say(got(sized.remote()))


@case
def calling_directly():
    say(outcome(identity, 1))
    say(outcome(Dies))
    actor = Dies.remote()
    say(outcome(actor.fine))
    say(outcome(lambda: actor.missing.remote()))


@case
def the_classes_of_errors():
    for one in (GetTimeoutError, TaskCancelledError, ActorDiedError, WorkerCrashedError):
        say(one.__name__, [x.__name__ for x in one.__mro__ if x.__name__[0] != "_"])


if __name__ == "__main__":
    main()
