"""Restarting actors, retrying their calls."""

import os
import time

import ray
from observing import case, got, main, raised, say, until
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError


class Base:
    def __init__(self, counter=None):
        self.n = 0
        if counter is not None:
            ray.get(counter.add.remote())

    def add(self):
        self.n += 1
        return self.n

    def pid(self):
        return os.getpid()

    def die(self):
        os._exit(1)

    def reconstructed(self):
        return ray.get_runtime_context().was_current_actor_reconstructed


Plain = ray.remote(Base)
Restarts = ray.remote(max_restarts=1)(Base)
Retries = ray.remote(max_restarts=-1, max_task_retries=-1)(Base)


def settled(actor):
    """Its answer once it answers again."""
    found = []

    def answers():
        try:
            found.append(ray.get(actor.add.remote(), timeout=20))
        except ActorUnavailableError:
            return False
        return True

    until(answers)
    return found


@case
def without_restarts():
    actor = Plain.remote()
    error = raised(ray.get, actor.die.remote(), timeout=20)
    say(type(error).__name__)
    say(got(actor.add.remote()))


@case
def one_restart():
    actor = Restarts.remote()
    ray.get(actor.add.remote())
    say(ray.get(actor.reconstructed.remote()))
    error = raised(ray.get, actor.die.remote(), timeout=20)
    say(isinstance(error, RayActorError), isinstance(error, RayTaskError))
    say(settled(actor))
    say(ray.get(actor.reconstructed.remote()))
    error = raised(ray.get, actor.die.remote(), timeout=20)
    say(isinstance(error, ActorDiedError))
    say(got(actor.add.remote()))


@case
def unavailable_while_it_restarts():
    @ray.remote(max_restarts=1)
    class Slow(Base):
        def __init__(self):
            super().__init__()
            if ray.get_runtime_context().was_current_actor_reconstructed:
                time.sleep(3)

    actor = Slow.remote()
    ray.get(actor.add.remote())
    say(got(actor.die.remote()))
    seen = []
    until(lambda: seen.append(got(actor.add.remote())) or "Unavailable" not in seen[-1])
    say(set(seen) <= {"raises ActorUnavailableError", "1"}, seen[-1])


@case
def retried_calls_wait():
    actor = Retries.remote()
    first = ray.get(actor.pid.remote())
    ray.kill(actor, no_restart=False)
    # A call that reaches the old process first may still be answered by it.
    say(until(lambda: ray.get(actor.pid.remote(), timeout=25) != first))


@case
def a_call_is_retried_on_the_new_incarnation(tmp="retry-marks"):
    file = os.path.abspath(tmp)

    @ray.remote(max_restarts=3, max_task_retries=3)
    class Once:
        def crash_once(self):
            if not os.path.exists(file):
                open(file, "w").close()
                os._exit(1)
            return "second try"

    actor = Once.remote()
    say(got(actor.crash_once.remote()))


@case
def limits_of_retries():
    @ray.remote(max_restarts=-1, max_task_retries=1)
    class Crashes(Base):
        pass

    actor = Crashes.remote()
    error = raised(ray.get, actor.die.remote(), timeout=30)
    say(isinstance(error, RayActorError))
    error = raised(ray.get, actor.die.options(max_task_retries=0).remote(), timeout=30)
    say(isinstance(error, RayActorError))


@case
def kill_with_restart():
    actor = Restarts.remote()
    first = ray.get(actor.pid.remote())
    ray.kill(actor, no_restart=False)
    pids = []

    def moved():
        try:
            pids.append(ray.get(actor.pid.remote(), timeout=20))
        except RayActorError:
            return False
        return pids[-1] != first

    say(until(moved))
    ray.kill(actor)
    say(got(actor.add.remote()))


@case
def application_errors_of_actors():
    @ray.remote
    class Fails:
        def __init__(self):
            self.n = 0

        @ray.method(max_task_retries=3, retry_exceptions=[KeyError])
        def listed(self):
            self.n += 1
            if self.n < 3:
                raise KeyError
            return self.n

        @ray.method(max_task_retries=1, retry_exceptions=True)
        def few(self):
            self.n += 1
            raise ValueError

        def count(self):
            return self.n

    actor = Fails.remote()
    say(got(actor.listed.remote()))
    actor = Fails.remote()
    say(got(actor.few.remote()), got(actor.count.remote()))
    actor = Fails.remote()
    say(got(actor.few.options(max_task_retries=0).remote()), got(actor.count.remote()))


@case
def restarts_run_the_constructor_again():
    counter = Plain.remote()
    actor = Retries.remote(counter)
    ray.get(actor.add.remote())
    ray.kill(actor, no_restart=False)
    say(until(lambda: ray.get(actor.add.remote(), timeout=25) == 1), got(counter.add.remote()))


@case
def a_constructor_that_fails_on_restart(tmp="ctor-marks"):
    file = os.path.abspath(tmp)

    @ray.remote(max_restarts=1)
    class Bad:
        def __init__(self):
            if os.path.exists(file):
                raise ValueError("second time")
            open(file, "w").close()

        def ping(self):
            return 1

        def die(self):
            os._exit(1)

    actor = Bad.remote()
    ray.get(actor.ping.remote())
    got(actor.die.remote())
    errors = []

    def dead():
        errors.append(raised(ray.get, actor.ping.remote(), timeout=20))
        return isinstance(errors[-1], ActorDiedError)

    say(until(dead), "second time" in str(errors[-1]))


if __name__ == "__main__":
    main()
