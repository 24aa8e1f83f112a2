"""The classes of errors: made by hand, pickled, what they carry and say."""

import os
import pickle
import time

import ray
from observing import case, main, raised, say
from ray import exceptions

NAMES = (
    "ActorDiedError",
    "ActorPlacementGroupRemoved",
    "ActorUnschedulableError",
    "AsyncioActorExit",
    "CrossLanguageError",
    "GetTimeoutError",
    "LocalRayletDiedError",
    "NodeDiedError",
    "ObjectFetchTimedOutError",
    "ObjectFreedError",
    "ObjectLostError",
    "ObjectReconstructionFailedError",
    "ObjectStoreFullError",
    "OutOfDiskError",
    "OutOfMemoryError",
    "OwnerDiedError",
    "PendingCallsLimitExceeded",
    "RayActorError",
    "RayError",
    "RaySystemError",
    "RayTaskError",
    "ReferenceCountingAssertionError",
    "RuntimeEnvSetupError",
    "TaskCancelledError",
    "TaskPlacementGroupRemoved",
    "TaskUnschedulableError",
    "UserCodeException",
    "WorkerCrashedError",
    "ActorUnavailableError",
    "ActorAlreadyExistsError",
)


@case
def the_tree():
    for name in NAMES:
        kind = getattr(exceptions, name)
        bases = [x.__name__ for x in kind.__mro__ if x.__name__[0] != "_"]
        say(
            name,
            "OSError" in bases,
            "TimeoutError" in bases,
            "AssertionError" in bases,
            "ValueError" in bases,
            [x for x in bases if x.startswith(("Ray", "Object"))],
        )


@case
def made_without_arguments():
    for name in (
        "RayError",
        "RayActorError",
        "ActorDiedError",
        "WorkerCrashedError",
        "TaskCancelledError",
        "GetTimeoutError",
        "LocalRayletDiedError",
        "ActorPlacementGroupRemoved",
        "TaskPlacementGroupRemoved",
        "RuntimeEnvSetupError",
        "AsyncioActorExit",
    ):
        made = getattr(exceptions, name)()
        again = pickle.loads(pickle.dumps(made))
        say(name, type(made).__name__, type(again).__name__, isinstance(str(made), str))


@case
def made_with_a_text():
    for name in (
        "GetTimeoutError",
        "ObjectStoreFullError",
        "OutOfDiskError",
        "RaySystemError",
        "OutOfMemoryError",
        "TaskUnschedulableError",
        "ActorUnschedulableError",
        "RuntimeEnvSetupError",
        "PendingCallsLimitExceeded",
        "RayError",
        "UserCodeException",
        "ActorAlreadyExistsError",
    ):
        made = getattr(exceptions, name)("the text")
        say(name, "the text" in str(made), "the text" in str(pickle.loads(pickle.dumps(made))))


@case
def what_a_task_error_carries():
    @ray.remote
    def fails():
        raise ValueError("inside")

    error = raised(ray.get, fails.remote(), timeout=25)
    say(type(error.cause).__name__, "fails" in str(error), "inside" in str(error))
    say(type(error.as_instanceof_cause()).__name__)
    try:
        raise error
    except ValueError as caught:
        say(caught is error)


@case
def what_an_actor_error_says():
    @ray.remote
    class Mortal:
        def die(self):
            os._exit(7)

    actor = Mortal.options(name="mortal").remote()
    raised(ray.get, actor.die.remote(), timeout=25)
    error = raised(ray.get, actor.die.remote(), timeout=25)
    say(type(error).__name__, error.actor_id == actor._actor_id.hex())
    say("Mortal" in str(error), actor._actor_id.hex() in str(error))
    ray.kill(Mortal.remote())
    killed = Mortal.remote()
    ray.get(killed.__ray_ready__.remote())
    ray.kill(killed)
    say("kill" in str(raised(ray.get, killed.die.remote(), timeout=25)))


@case
def what_a_timeout_says():
    @ray.remote
    def slow():
        time.sleep(30)

    ref = slow.remote()
    say(str(raised(ray.get, ref, timeout=0.1)) != "")
    ray.cancel(ref, force=True)


@case
def what_a_crash_says():
    @ray.remote(max_retries=0)
    def crash():
        os._exit(1)

    error = raised(ray.get, crash.remote(), timeout=25)
    say(type(error).__name__, len(str(error)) > 20)


@case
def a_constructor_that_fails_says_why():
    @ray.remote
    class Bad:
        def __init__(self):
            raise ValueError("the reason")

        def method(self):
            pass

    text = str(raised(ray.get, Bad.remote().method.remote(), timeout=25))
    say("the reason" in text, "__init__" in text, "ValueError" in text)


if __name__ == "__main__":
    main()
