"""Names of actors and namespaces."""

import os
import subprocess
import sys

import ray
from observing import case, got, main, outcome, raised, say, until


@ray.remote
class Named:
    def __init__(self, value=0):
        self.value = value

    def get(self):
        return self.value

    def set(self, value):
        self.value = value

    def where(self):
        context = ray.get_runtime_context()
        return context.get_actor_name(), context.namespace


def free(name, **kwargs):
    return until(lambda: isinstance(raised(ray.get_actor, name, **kwargs), ValueError))


@case
def found_by_name():
    actor = Named.options(name="one").remote(1)
    say(got(ray.get_actor("one").get.remote()))
    say(ray.get_actor("one") == actor)
    say(got(actor.where.remote()))

    @ray.remote
    def elsewhere():
        return ray.get(ray.get_actor("one").get.remote())

    say(got(elsewhere.remote()))
    del actor
    say(free("one"))


@case
def unknown_and_taken_names():
    unknown = raised(ray.get_actor, "nobody")
    say(type(unknown).__name__, "nobody" in str(unknown))
    actor = Named.options(name="taken").remote()
    taken = raised(Named.options(name="taken").remote)
    say(type(taken).__name__, "taken" in str(taken), str(taken) != str(unknown))
    ray.kill(actor)
    say(free("taken"))
    again = Named.options(name="taken").remote(2)
    say(got(again.get.remote()))


@case
def get_if_exists():
    first = Named.options(name="shared", get_if_exists=True).remote(1)
    second = Named.options(name="shared", get_if_exists=True).remote(2)
    say(got(first.get.remote()), got(second.get.remote()), first == second)


@case
def get_if_exists_concurrently():
    @ray.remote(num_cpus=0.5)
    def race(i):
        actor = Named.options(name="raced", get_if_exists=True, lifetime="detached").remote(i)
        return actor._actor_id.hex(), ray.get(actor.get.remote())

    say(len(set(ray.get([race.remote(i) for i in range(8)], timeout=30))))
    ray.kill(ray.get_actor("raced"))


@case
def namespaces_separate():
    here = Named.options(name="x").remote("here")
    there = Named.options(name="x", namespace="other").remote("there")
    say(got(ray.get_actor("x").get.remote()))
    say(got(ray.get_actor("x", namespace="other").get.remote()))
    say(outcome(ray.get_actor, "x", namespace="third"))
    say(got(here.where.remote()), got(there.where.remote()))
    say(
        sorted(
            x["name"]
            for x in ray.util.list_named_actors(all_namespaces=True)
            if x["namespace"] in ("mine", "other") and x["name"] == "x"
        )
    )
    say("x" in ray.util.list_named_actors())


@case
def wrong_names():
    for name in (1, None, ""):
        say(name, outcome(ray.get_actor, name))
    say(outcome(lambda: Named.options(name="").remote()))
    say(outcome(lambda: Named.options(name="a", namespace="").remote()))


@case
def detached_outlives_the_handle():
    Named.options(name="stays", lifetime="detached").remote(5)
    say(got(ray.get_actor("stays").get.remote()))
    ray.kill(ray.get_actor("stays"))
    say(free("stays"))


SECOND = """
import ray, sys
ray.init(address=sys.argv[1], namespace="mine", log_to_driver=False)
@ray.remote
class A:
    def get(self):
        return 7
    def pid(self):
        import os
        return os.getpid()
detached = A.options(name="detached", lifetime="detached").remote()
mortal = A.options(name="mortal").remote()
print(ray.get(detached.get.remote()), ray.get(mortal.get.remote()))
try:
    ray.get(ray.get_actor("firsts").get.remote())
    print("found")
except ValueError:
    print("not found")
"""


@case
def across_drivers():
    firsts = Named.options(name="firsts").remote(1)
    ray.get(firsts.get.remote())
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-c", SECOND, address],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    say(done.returncode, done.stdout.splitlines()[-2:])
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    say(free("mortal"))
    say(got(ray.get_actor("detached").get.remote()))
    ray.kill(ray.get_actor("detached"))


if __name__ == "__main__":
    main(namespace="mine")
