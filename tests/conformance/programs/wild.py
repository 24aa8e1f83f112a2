"""Ways of use that published libraries rely on, private names included."""

import asyncio
import concurrent.futures
import dataclasses
import importlib.metadata
import importlib.util

import ray
from observing import case, got, main, outcome, say


@ray.remote
def identity(value):
    return value


@ray.remote
def fails():
    raise ValueError("x")


@ray.remote
class Actor:
    def get(self):
        return 1


@case
def the_distribution():
    say(importlib.util.find_spec("ray") is not None)
    say(importlib.metadata.version("ray") == ray.__version__)
    parts = ray.__version__.split(".")
    say(len(parts), all(x.isdecimal() for x in parts))


@case
def awaitable_references():
    async def all_ways():
        refs = [identity.remote(i) for i in range(3)]
        found = [await asyncio.gather(*refs), await asyncio.shield(refs[0]), await refs[1]]
        done, pending = await asyncio.wait([asyncio.ensure_future(x) for x in refs])
        found.append((len(done), len(pending)))
        found.append(await asyncio.wait_for(identity.remote(9), 20))
        try:
            await fails.remote()
        except ValueError as error:
            found.append(type(error).__name__)
        found.append(await asyncio.gather(fails.remote(), refs[2], return_exceptions=True))
        found[-1][0] = type(found[-1][0]).__name__
        return found

    say(asyncio.run(all_ways()))


@case
def cancelled_awaits():
    async def main():
        @ray.remote
        def slow():
            import time

            time.sleep(1.5)
            return "ended"

        ref = slow.remote()
        try:
            await asyncio.wait_for(asyncio.shield(ref), 0.1)
        except asyncio.TimeoutError:
            return await ref

    say(asyncio.run(main()))


@case
def futures():
    future = identity.remote(5).future()
    say(isinstance(future, concurrent.futures.Future), future.result(20))
    failed = fails.remote().future()
    say(outcome(failed.result, 20), type(failed.exception()).__name__)
    done, _ = concurrent.futures.wait([identity.remote(i).future() for i in range(3)], timeout=20)
    say(sorted(x.result() for x in done))
    called = []
    again = identity.remote(6).future()
    again.add_done_callback(lambda x: called.append(x.result()))
    again.result(20)
    say(ray.get(ray.put(1)))


@case
def references_in_many_places():
    @dataclasses.dataclass
    class Record:
        ref: ray.ObjectRef

    record = Record(identity.remote(3))
    say(got(record.ref))

    @ray.remote
    def unpack(record, table):
        return ray.get(record.ref) + ray.get(table["a"])

    say(got(unpack.remote(record, {"a": ray.put(4)})))


@case
def private_names_of_handles():
    actor = Actor.remote()
    say(len(actor._actor_id.hex()), actor._ray_actor_id == actor._actor_id)
    say(got(actor.__ray_ready__.remote()), Actor.__ray_actor_class__.__name__)
    say(type(Actor).__name__, Actor.__class__.__name__)
    say(ray.actor.ActorHandle is type(actor), isinstance(Actor, ray.actor.ActorClass))
    say(isinstance(identity, ray.remote_function.RemoteFunction))
    say(outcome(lambda: identity._function.__name__))
    from ray._raylet import ObjectRef

    say(ObjectRef is ray.ObjectRef)


@case
def private_state():
    actor = Actor.remote()
    ray.get(actor.get.remote())
    row = ray._private.state.actors(actor._ray_actor_id.hex())
    say(row["Address"]["NodeID"] == ray.nodes()[0]["NodeID"], row["State"])
    found = ray._private.state.available_resources_per_node()
    say(list(found) == [ray.nodes()[0]["NodeID"]])
    group = ray.util.placement_group([{"CPU": 1}])
    group.wait(20)
    table = ray._private.state.state.placement_group_table(group.id)
    say(table["bundles_to_node_id"][0] == ray.nodes()[0]["NodeID"])
    ray.util.remove_placement_group(group)


@case
def private_services_and_modes():
    address = ray._private.services.get_node_ip_address()
    say(isinstance(address, str))
    worker = ray._private.worker
    modes = {
        worker.SCRIPT_MODE,
        worker.WORKER_MODE,
        worker.SPILL_WORKER_MODE,
        worker.RESTORE_WORKER_MODE,
    }
    say(worker.SCRIPT_MODE, worker.WORKER_MODE, len(modes))
    worker.blocking_get_inside_async_warned = True
    say(worker.global_worker.mode == worker.SCRIPT_MODE)

    @ray.remote
    def mode():
        return ray._private.worker.global_worker.mode

    say(got(mode.remote()))


@case
def ids():
    for name in (
        "ActorID",
        "JobID",
        "TaskID",
        "NodeID",
        "WorkerID",
        "PlacementGroupID",
        "FunctionID",
        "ActorClassID",
        "UniqueID",
        "ObjectID",
    ):
        say(name, isinstance(getattr(ray, name), type))
    node = ray.NodeID.from_hex(ray.nodes()[0]["NodeID"])
    say(node.hex() == ray.nodes()[0]["NodeID"], node == ray.NodeID(node.binary()))
    say(ray.NodeID.nil().is_nil(), ray.NodeID.from_random() != ray.NodeID.from_random())
    say(len(ray.JobID.from_int(1).hex()), ray.JobID.from_int(1).hex())
    say(len(ray.get_runtime_context().get_job_id()), hash(node) == hash(ray.NodeID(node.binary())))


@case
def names_that_can_be_imported():
    for text in (
        "from ray import ObjectRef, ObjectRefGenerator, Language, ClientBuilder, logger",
        "from ray.actor import ActorHandle, ActorClass, exit_actor",
        "from ray.remote_function import RemoteFunction",
        "from ray.runtime_context import RuntimeContext, get_runtime_context",
        "from ray.runtime_env import RuntimeEnv",
        "from ray.exceptions import RayActorError, RayTaskError, TaskCancelledError",
        "from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError",
        "from ray.util.placement_group import placement_group, remove_placement_group",
        "from ray.util.placement_group import get_current_placement_group",
        "from ray.util import placement_group, ActorPool, get_node_ip_address",
        "from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy",
        "from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy",
        "from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy",
        "from ray.util.queue import Queue, Empty, Full",
        "from ray.util.multiprocessing import Pool",
        "from ray.util.joblib import register_ray",
        "from ray.util.metrics import Counter, Gauge, Histogram",
        "from ray.util.state import list_actors, list_tasks, list_nodes, get_actor",
        "from ray.experimental.state.api import get_actor",
        "from ray.util.annotations import PublicAPI, DeveloperAPI",
        "from ray.experimental import get_object_locations, tqdm_ray",
        "from ray.experimental.tqdm_ray import tqdm",
        "from ray.autoscaler.sdk import request_resources",
        "import ray.cloudpickle as pickle",
        "from ray import cloudpickle",
        "from ray.types import ObjectRef",
        "from ray._private.worker import global_worker",
        "import ray.dag",
        "from ray.cluster_utils import Cluster",
        "from ray.util.accelerators import NVIDIA_TESLA_V100",
        "from ray.util import log_once, list_named_actors, get_placement_group",
        "from ray.util.debug import log_once",
        "from ray.util.serialization import register_serializer",
        "from ray.exceptions import RaySystemError, PlasmaObjectNotAvailable",
    ):
        say(text, outcome(exec, text))


@case
def bare_objects_and_many_returns():
    say(ray.get(ray.remote(lambda: 1).remote()))
    function = ray.remote(abs) if False else ray.remote(lambda x: abs(x))
    say(ray.get(function.remote(-2)), ray.get(function.remote(-2)))
    many = identity.options(num_returns=24).remote(list(range(24)))
    say(len(many), sum(ray.get(many)))
    say(got(identity.options(resources=None, num_cpus=0).remote(1)))


@case
def repr_of_things():
    say(repr(identity.remote(1)).startswith("ObjectRef("))
    say(str(ray.NodeID.nil())[:7])
    say(type(identity).__name__)
    say(ray.get.__name__, callable(ray.remote), ray.logger.name.split(".")[0] != "")


@case
def log_once():
    from ray.util.debug import log_once

    say(log_once("conformance"), log_once("conformance"))


if __name__ == "__main__":
    main()
