"""Joining and leaving; what the driver's terminal shows."""

import os
import re
import subprocess
import sys

import ray
from observing import LIMIT, case, main, outcome, raised, say

QUIET = {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False}


def program(text, *args, **env):
    return subprocess.run(
        [sys.executable, "-c", text, *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
        timeout=LIMIT,
    )


@case
def a_second_init():
    ray.init(**QUIET)
    say(ray.is_initialized())
    say(outcome(ray.init, num_cpus=1))
    say(outcome(lambda: type(ray.init(ignore_reinit_error=True)).__name__))
    ray.shutdown()
    say(ray.is_initialized())
    say(outcome(ray.shutdown))


@case
def the_context_it_returns():
    with ray.init(**QUIET) as context:
        say(type(context).__name__, ray.is_initialized())
        say("node_id" in context.address_info, context["node_id"] == ray.nodes()[0]["NodeID"])
        say(hasattr(context, "dashboard_url"), isinstance(context.ray_version, str))
        say(isinstance(context.python_version, str))
    say(ray.is_initialized())


@case
def bad_arguments_of_init():
    for wrong in ({"resources": {"CPU": 1}}, {"nonsense": 1}, {"namespace": 1}, {"runtime_env": 1}):
        say(wrong, outcome(ray.init, include_dashboard=False, **wrong).startswith("raises"))
        ray.shutdown()
    say(ray.is_initialized())


@case
def no_cluster_at_the_address():
    say(isinstance(raised(ray.init, address="auto"), ConnectionError))
    say(ray.is_initialized())


@case
def the_first_call_starts_a_cluster():
    text = """
import ray
@ray.remote
def f():
    return 1
assert not ray.is_initialized()
print(ray.get(f.remote()), ray.is_initialized())
"""
    say(program(text).stdout.split("\n")[-2])


@case
def nothing_works_after_shutdown():
    ray.init(**QUIET)
    ref = ray.put(1)
    ray.shutdown()
    ray.init(**QUIET)
    say(outcome(ray.get, ref, timeout=5).startswith("raises"))
    ray.shutdown()


LOGS = """
import ray, sys, os, time
ray.init(num_cpus=2, include_dashboard=False)
@ray.remote
def prints():
    print("from a task")
    print("to stderr", file=sys.stderr)
@ray.remote
class Speaks:
    def say(self):
        print("from an actor")
    def end(self):
        print("last words")
        sys.stdout.flush()
        os._exit(1)
@ray.remote
class Represented(Speaks.__ray_actor_class__):
    def __repr__(self):
        return "Me(1)"
@ray.remote(name="other name")
def named():
    print("from a named task")
ray.get([prints.remote(), named.remote()])
actor, other = Speaks.remote(), Represented.remote()
ray.get([actor.say.remote(), other.say.remote()])
try:
    ray.get(actor.end.remote())
except ray.exceptions.RayActorError:
    pass
time.sleep(2.5)
"""


@case
def prefixes_of_lines():
    done = program(LOGS, RAY_DEDUP_LOGS="0")
    text = re.sub(r"\x1b\[\d+m", "", done.stdout + done.stderr)
    # Ray names the node only where it is not the driver's.
    text = re.sub(r"pid=\d+(, ip=[\d.]+)?", "pid=N", text)
    for words in ("from a task", "to stderr", "from an actor", "from a named task", "last words"):
        say(sorted(x for x in text.splitlines() if words in x and x.startswith("(")))


REPEATED = """
import ray, time
ray.init(num_cpus=4, include_dashboard=False)
@ray.remote
def prints():
    print("the same line")
    time.sleep(0.2)
ray.get([prints.remote() for _ in range(8)])
time.sleep(6)
"""


@case
def repeated_lines():
    lines = program(REPEATED, RAY_DEDUP_LOGS="1").stdout
    lines = [x for x in re.sub(r"\x1b\[\d+m", "", lines).splitlines() if "the same line" in x]
    say(len(lines) <= 4, any("across cluster" in x for x in lines))
    say(sum("_DEDUP_LOGS=0" in x for x in lines))
    lines = program(REPEATED, RAY_DEDUP_LOGS="0").stdout
    say(sum("the same line" in x for x in lines.splitlines()))


@case
def exit_codes_and_uncaught_errors():
    text = """
import ray
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
@ray.remote
def f():
    raise ValueError("uncaught")
ray.get(f.remote())
"""
    done = program(text)
    last = done.stderr.strip().splitlines()[-1]
    say(done.returncode, "ValueError: uncaught" in last)
    text = "import ray, sys; ray.init(num_cpus=1, include_dashboard=False); sys.exit(3)"
    say(program(text).returncode)


JOIN = """
import ray
context = ray.init(namespace="x", ignore_reinit_error=True)
print(ray.cluster_resources()["CPU"], ray.get_runtime_context().namespace)
"""


@case
def addresses_from_the_environment():
    ray.init(**QUIET)
    address = ray.get_runtime_context().gcs_address
    say(program(JOIN, RAY_ADDRESS=address).stdout.strip())
    say(
        program(
            JOIN.replace("init(", "init(address='local', num_cpus=1, "), RAY_ADDRESS=address
        ).stdout.strip()
    )
    say(program(JOIN.replace("init(", "init(address='auto', "), RAY_ADDRESS=address).stdout.strip())
    ray.shutdown()


@case
def jobs_have_ids_of_their_own():
    ray.init(**QUIET)
    address = ray.get_runtime_context().gcs_address
    text = "import ray; ray.init(); print(ray.get_runtime_context().get_job_id())"
    first, second = (program(text, RAY_ADDRESS=address).stdout.strip() for _ in range(2))
    say(len(first), first != second, first != ray.get_runtime_context().get_job_id())
    ray.shutdown()


if __name__ == "__main__":
    main(connect=False)
