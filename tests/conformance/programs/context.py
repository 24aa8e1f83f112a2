"""The runtime context, runtime environments, what the cluster has, GPUs, the timeline."""

import json
import os
import sys

import ray
from observing import case, got, main, outcome, raised, say, until
from ray.runtime_env import RuntimeEnv


@ray.remote
def in_a_task(what):
    return what(ray.get_runtime_context())


@ray.remote
class InAnActor:
    def ask(self, what):
        return what(ray.get_runtime_context())

    def gpus(self):
        return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")


@case
def ids():
    context = ray.get_runtime_context()
    for name in (
        "get_job_id",
        "get_node_id",
        "get_worker_id",
        "get_task_id",
        "get_actor_id",
        "get_actor_name",
        "get_placement_group_id",
        "get_task_name",
    ):

        def what(context, name=name):
            found = getattr(context, name)()
            known = name in ("get_job_id", "get_node_id", "get_actor_id")
            return type(found).__name__, len(found) if found and known else 0

        say(
            name,
            outcome(what, context),
            got(in_a_task.remote(what)),
            got(InAnActor.remote().ask.remote(what)),
        )


@case
def ids_are_the_same_everywhere():
    context = ray.get_runtime_context()
    job, node = context.get_job_id(), context.get_node_id()
    say(got(in_a_task.remote(lambda c: (c.get_job_id(), c.get_node_id()))) == repr((job, node)))
    actor = InAnActor.remote()
    say(got(actor.ask.remote(lambda c: c.get_actor_id())) == repr(actor._actor_id.hex()))
    say(
        got(actor.ask.remote(lambda c: c.current_actor._actor_id.hex()))
        == repr(actor._actor_id.hex())
    )
    say(got(actor.ask.remote(lambda c: c.was_current_actor_reconstructed)))
    ref = in_a_task.remote(lambda c: c.get_task_id())
    say(ray.get(ref) == ref.task_id().hex())
    say(outcome(lambda: context.current_actor))


@case
def assigned_resources():
    ask = in_a_task.options(num_cpus=2, resources={"disk": 1})
    say(got(ask.remote(lambda c: c.get_assigned_resources())))
    say(got(in_a_task.remote(lambda c: c.get_assigned_resources())))
    say(got(InAnActor.remote().ask.remote(lambda c: c.get_assigned_resources())))
    actor = InAnActor.options(num_cpus=0.5, num_gpus=1).remote()
    say(got(actor.ask.remote(lambda c: sorted(c.get_assigned_resources().items()))))


@case
def names_of_tasks():
    say(got(in_a_task.options(name="named").remote(lambda c: c.get_task_name())))
    say(got(in_a_task.remote(lambda c: c.get_task_name())))
    say(got(InAnActor.options(name="x").remote().ask.remote(lambda c: c.get_actor_name())))


@case
def namespace_and_more():
    context = ray.get_runtime_context()
    say(context.namespace, got(in_a_task.remote(lambda c: c.namespace)))
    say(isinstance(context.gcs_address, str), ":" in context.gcs_address)
    say(ray.is_initialized(), got(in_a_task.remote(lambda c: ray.is_initialized())))
    say(sorted(x for x in context.get() if x in ("job_id", "node_id", "namespace")))
    say(type(context.get_accelerator_ids()).__name__)


@case
def environment_variables():
    @ray.remote
    def variable(name):
        return os.environ.get(name)

    with_variable = variable.options(runtime_env={"env_vars": {"CONFORMANCE": "1"}})
    say(got(with_variable.remote("CONFORMANCE")), got(variable.remote("CONFORMANCE")))

    @ray.remote(runtime_env={"env_vars": {"CONFORMANCE": "2"}})
    class Actor:
        def variable(self):
            return os.environ.get("CONFORMANCE")

        def child(self):
            return ray.get(variable.remote("CONFORMANCE"))

        def environment(self):
            return ray.get_runtime_context().runtime_env.get("env_vars")

    actor = Actor.remote()
    say(got(actor.variable.remote()), got(actor.child.remote()))
    say(got(actor.environment.remote()))
    say(dict(ray.get_runtime_context().runtime_env).get("env_vars"))


@case
def environments_as_objects():
    env = RuntimeEnv(env_vars={"A": "1"})
    say(env["env_vars"], env.get("env_vars"), env.get("working_dir"), isinstance(env, dict))

    @ray.remote
    def variable(name):
        return os.environ.get(name)

    say(got(variable.options(runtime_env=env).remote("A")))


@case
def the_cluster():
    node = ray.nodes()[0]
    for key in (
        "NodeID",
        "Alive",
        "NodeManagerAddress",
        "NodeManagerHostname",
        "NodeManagerPort",
        "ObjectStoreSocketName",
        "RayletSocketName",
        "NodeName",
        "MetricsExportPort",
        "Resources",
        "Labels",
        "alive",
    ):
        say(key, type(node.get(key)).__name__)
    say(len(ray.nodes()), node["Alive"], node["NodeID"] == ray.get_runtime_context().get_node_id())
    resources = ray.cluster_resources()
    say(resources["CPU"], resources["GPU"], resources["disk"], type(resources["memory"]).__name__)
    say(f"node:{node['NodeManagerAddress']}" in resources, "node:__internal_head__" in resources)
    say(sorted(x for x in resources if not x.startswith("node:")))
    say(node["Resources"]["CPU"], ray.util.get_node_ip_address() == node["NodeManagerAddress"])
    say("ray.io/node-id" in node["Labels"], node["Labels"].get("ray.io/node-id") == node["NodeID"])


@case
def available_resources():
    total = ray.cluster_resources()
    say(until(lambda: ray.available_resources().get("CPU") == total["CPU"]))

    @ray.remote(num_cpus=0, resources={"disk": 2})
    def free():
        return [ray.available_resources().get(x) for x in ("disk", "CPU")]

    say(until(lambda: ray.get(free.remote()) == [None, total["CPU"]]) or ray.get(free.remote()))


@case
def node_resource_by_address():
    address = ray.nodes()[0]["NodeManagerAddress"]
    pinned = in_a_task.options(resources={f"node:{address}": 0.01})
    say(got(pinned.remote(lambda c: 1)))


@case
def gpu_ids():
    say(ray.get_gpu_ids())

    @ray.remote(num_gpus=1, max_calls=0)
    def one():
        return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")

    ids, variable = ray.get(one.remote(), timeout=25)
    say(len(ids), ",".join(map(str, ids)) == variable, [type(x).__name__ for x in ids])
    ids, variable = ray.get(one.options(num_gpus=2).remote(), timeout=25)
    say(ids, variable)

    @ray.remote
    def none():
        return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")

    say(got(none.remote()))
    actors = [InAnActor.options(num_gpus=1).remote() for _ in range(2)]
    found = ray.get([x.gpus.remote() for x in actors], timeout=25)
    say(sorted(x for ids, _ in found for x in ids), sorted(x for _, x in found))


@case
def fractions_of_gpus_share_one():
    actors = [InAnActor.options(num_gpus=0.5).remote() for _ in range(4)]
    found = ray.get([x.gpus.remote() for x in actors], timeout=25)
    say(sorted(x for ids, _ in found for x in ids))


@case
def workers_end_after_max_calls():
    @ray.remote(max_calls=1)
    def pid():
        return os.getpid()

    say(len({ray.get(pid.remote()) for _ in range(3)}))

    @ray.remote(num_gpus=1)
    def with_gpu():
        return os.getpid()

    say(len({ray.get(with_gpu.remote()) for _ in range(2)}))
    say(until(lambda: ray.available_resources().get("GPU") == 2))


@case
def the_timeline():
    ray.get(in_a_task.options(name="timed").remote(lambda c: 1))

    def seen():
        events = ray.timeline()
        return [x for x in events if "timed" in str(x.get("name")) or "timed" in str(x.get("cat"))]

    say(until(lambda: bool(seen())))
    event = seen()[0]
    say(
        [type(event[x]).__name__ for x in ("name", "cat", "ph", "pid", "tid", "args")],
        event["ph"],
        event["dur"] >= 0,
    )
    ray.timeline("timeline.json")
    with open("timeline.json") as file:
        say(type(json.load(file)).__name__)


@case
def modules_of_the_driver():
    @ray.remote
    def helper():
        import observing

        return observing.case.__name__

    say(got(helper.remote()), sys.path[0] != "")


@case
def bad_environments():
    for env in (
        {"env_vars": {1: "a"}},
        {"env_vars": ["a"]},
        {"working_dir": 1},
        {"py_modules": "x"},
    ):
        say(env, raised(lambda x=env: in_a_task.options(runtime_env=x)) is not None)


if __name__ == "__main__":
    main(num_gpus=2, resources={"disk": 2}, namespace="here")
