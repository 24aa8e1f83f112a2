"""`ray`'s names: the same objects as rayhpc's, and what libraries touch beyond the public ones."""

from __future__ import annotations

import pytest

from tests.compat.conftest import Program

MODULES = """
    ray.actor ray.exceptions ray.remote_function ray.runtime_context ray.runtime_env ray.dag
    ray.dag.dag_node ray.dag.input_node ray.dag.class_node ray.dag.function_node
    ray.dag.output_node ray.dag.compiled_dag_node
    ray.types ray._raylet ray._private ray._private.services ray._private.state
    ray._private.worker ray._private.ray_constants ray.cluster_utils ray.experimental
    ray.experimental.tqdm_ray ray.experimental.state.api ray.autoscaler.sdk ray.services
    ray.internal ray._private.internal_api
    ray.state ray.worker ray.util ray.util.accelerators ray.util.actor_pool ray.util.annotations
    ray.util.collective ray.util.collective.collective ray.util.collective.types
    ray.util.check_serialize ray.util.debug ray.util.helpers ray.util.metrics
    ray.util.multiprocessing ray.util.multiprocessing.pool ray.util.placement_group
    ray.util.queue ray.util.scheduling_strategies ray.util.serialization ray.util.state
    ray.util.state.api ray.util.state.common
"""
NAMES = """
    init get remote is_initialized ObjectRef wait put get_runtime_context shutdown kill nodes
    available_resources __version__ cluster_resources cancel get_actor method timeline get_gpu_ids
    logger ObjectID ObjectRefGenerator ActorID JobID TaskID NodeID WorkerID PlacementGroupID
    FunctionID ActorClassID UniqueID Language ClientBuilder
    actor.ActorClassInheritanceException actor.ActorMethod internal.free
    _private.internal_api.free _private.internal_api.memory_summary _private.worker.BaseContext
    util.placement_group.validate_placement_group
    util.placement_group.check_placement_group_index
    experimental.get_local_object_locations
    exceptions.RayActorError.error_msg exceptions.RayActorError.actor_init_failed
    exceptions.RayActorError.preempted exceptions.RayActorError.base_error_msg
    actor.ActorHandle actor.ActorClass actor.exit_actor remote_function.RemoteFunction
    runtime_context.RuntimeContext runtime_env.RuntimeEnv dag.DAGNode
    dag.InputNode dag.InputAttributeNode dag.DAGInputData dag.MultiOutputNode dag.FunctionNode
    dag.ClassNode dag.ClassMethodNode dag.PARENT_CLASS_NODE_KEY dag.CompiledDAG
    util.get_node_ip_address util.ActorPool util.placement_group util.remove_placement_group
    util.get_current_placement_group util.register_serializer util.inspect_serializability
    util.queue.Queue util.queue.Empty util.queue.Full util.multiprocessing.Pool
    util.metrics.Counter util.metrics.Gauge util.metrics.Histogram util.state.list_actors
    util.collective.init_collective_group util.collective.create_collective_group
    util.collective.destroy_collective_group util.collective.is_group_initialized
    util.collective.get_rank util.collective.get_collective_group_size util.collective.allreduce
    util.collective.reduce util.collective.broadcast util.collective.allgather
    util.collective.reducescatter util.collective.send util.collective.recv
    util.collective.barrier util.collective.nccl_available util.collective.gloo_available
    util.collective.types.Backend util.collective.types.ReduceOp
    util.annotations.PublicAPI util.annotations.DeveloperAPI util.annotations.Deprecated
    util.scheduling_strategies.NodeAffinitySchedulingStrategy
    util.scheduling_strategies.PlacementGroupSchedulingStrategy
    util.placement_group.PlacementGroup util.placement_group.placement_group
    experimental.get_object_locations experimental.tqdm_ray.tqdm experimental.state.api.get_actor
    autoscaler.sdk.request_resources exceptions.RayActorError exceptions.RayTaskError
    exceptions.TaskCancelledError exceptions.ActorDiedError exceptions.ActorUnavailableError
    exceptions.ActorUnschedulableError
    _raylet.ObjectRef _private.state.actors _private.state.state.placement_group_table
    _private.state.available_resources_per_node _private.services.get_node_ip_address
    _private.worker.SCRIPT_MODE _private.worker.WORKER_MODE _private.worker.SPILL_WORKER_MODE
    _private.worker.RESTORE_WORKER_MODE _private.worker.pickle services.get_node_ip_address
"""


def test_every_module_can_be_imported(program: Program) -> None:
    assert program("\n".join(f"import {x}" for x in MODULES.split())) == ""


def test_every_name_is_there(program: Program) -> None:
    lines = [f"import {x}" for x in MODULES.split() if x.count(".") == 2 or x.endswith(".api")]
    program("\n".join(["import ray", *lines, *(f"ray.{x}" for x in NAMES.split())]))


def test_modules_and_classes_are_the_very_same(program: Program) -> None:
    code = """
        import pickle
        import ray, ray.exceptions, ray.util.queue, ray.util.placement_group
        import rayhpc, rayhpc.exceptions, rayhpc.util.queue
        assert ray.util.queue is rayhpc.util.queue
        assert ray.exceptions is rayhpc.exceptions
        assert ray.get is rayhpc.get and ray.ObjectRef is rayhpc.ObjectRef is ray.ObjectID
        # An alias leaves no trace in the module itself.
        assert rayhpc.util.queue.__name__ == rayhpc.util.queue.__spec__.name == "rayhpc.util.queue"
        assert not hasattr(rayhpc.util.queue, "__path__")
        # Pickles of either name mean the same.
        error = ray.exceptions.RayTaskError
        assert pickle.dumps(error) == pickle.dumps(rayhpc.exceptions.RayTaskError)
        assert pickle.loads(b"cray.exceptions\\nRayTaskError\\n.") is error
    """
    program(code)


def test_aliases_hold_whichever_name_comes_first(program: Program) -> None:
    program(
        """
        import rayhpc.util.actor_pool
        import ray.util.actor_pool, ray.util.debug
        import rayhpc.util.debug
        assert ray.util.debug is rayhpc.util.debug
        assert ray.util.actor_pool is rayhpc.util.actor_pool
        """
    )


def test_placement_group_is_a_module_and_a_function(program: Program) -> None:
    program(
        """
        import ray
        import ray.util.placement_group
        from ray.util import placement_group
        from ray.util.placement_group import PlacementGroup
        from ray.util.placement_group import placement_group as function
        assert callable(placement_group) and callable(function)
        assert ray.util.placement_group.PlacementGroup is PlacementGroup
        try:
            placement_group([], strategy="PACK")
        except ValueError as error:
            assert "bundles" in str(error)
        """
    )


def test_private_flags_can_be_set(program: Program) -> None:
    code = """
        import ray._private.worker, rayhpc.api.objects.objects
        ray._private.worker.blocking_get_inside_async_warned = True
        print(rayhpc.api.objects.objects.blocking_get_inside_async_warned)
        print(ray._private.worker.global_worker.mode, ray._private.worker.global_worker.connected)
        ray._private.worker._unhandled_error_handler = print
        print(rayhpc.runtime.process.unhandled.handler is print)
    """
    assert program(code).split() == ["True", "None", "False", "True"]


def test_the_node_of_a_process(program: Program) -> None:
    code = """
        import os, ray
        assert ray._private.worker.global_worker.node is None
        ray.init("local", num_cpus=1)

        @ray.remote
        def there():
            node = ray._private.worker.global_worker.node
            return node.unique_id, node.node_ip_address, node.address_info

        (known,) = ray.nodes()
        for id, ip, info in (there._function(), ray.get(there.remote())):
            assert id == info["node_id"] == known["NodeID"]
            assert ip == info["node_ip_address"] == known["NodeManagerAddress"]
            assert os.path.isdir(info["session_dir"])
    """
    program(code)


@pytest.mark.parametrize(
    "module", ["data", "train", "tune", "serve", "rllib", "experimental.collective"]
)
def test_a_bare_import_of_what_is_not_served_is_an_import_error(
    program: Program, module: str
) -> None:
    code = f"""
        import ray
        for statement in ("import ray.{module}", "from ray.{module} import something"):
            try:
                exec(statement)
            except ModuleNotFoundError as error:
                assert "rayhpc does not serve ray.{module}" in str(error), error
                assert isinstance(error, ray.exceptions.NotServedError)
            else:
                raise AssertionError(statement)
        import importlib.util
        assert importlib.util.find_spec("ray.{module}") is None
    """
    program(code)


def test_from_ray_import_names_the_alternative(program: Program) -> None:
    code = """
        try:
            from ray import tune
        except ImportError as error:
            print(error)
    """
    assert "search library" in program(code)


def test_names_imported_at_the_top_and_not_called(program: Program) -> None:
    code = """
        import sys
        from ray.data import from_pandas_refs
        from ray.train._internal.session import get_session
        import ray
        for module in ("data", "train", "train._internal.session"):
            try:
                exec(f"import ray.{module}")
            except ImportError:
                pass
            else:
                raise AssertionError(module)
        assert not hasattr(ray, "data") and not hasattr(ray, "train")
        for function in (from_pandas_refs, get_session):
            try:
                function()
            except ray.exceptions.NotServedError as error:
                print(error)
    """
    lines = program(code).splitlines()
    assert len(lines) == 2
    assert "Dask" in lines[0]


@pytest.mark.parametrize("nodes", [1, 2])
def test_asking_for_more_nodes_warns_once(program: Program, nodes: int) -> None:
    code = f"""
        import logging
        import ray
        from ray.autoscaler.sdk import request_resources
        from ray.cluster_utils import Cluster
        said = []
        logging.getLogger("rayhpc").addFilter(lambda record: said.append(record.getMessage()))
        cluster = Cluster(initialize_head=True)
        for _ in range({nodes} - 1):
            cluster.add_node()
        ray.init(cluster.address)
        print(request_resources(bundles=[{{"CPU": 1}}]), request_resources(num_cpus=5))
        print(len([x for x in said if "fixed size" in x and "submit --nodes" in x]))
    """
    assert program(code).splitlines()[-2:] == ["None None", "1"]


def test_other_names_of_those_modules_stay_missing(program: Program) -> None:
    code = """
        try:
            from ray.data import from_pandas_refs, Dataset
        except ImportError as error:
            print("no")
    """
    assert program(code) == "no"


def test_an_unknown_name_is_an_attribute_error(program: Program) -> None:
    code = """
        import ray
        for name in ("nonsense", "tune", "api", "runtime"):
            try:
                getattr(ray, name)
            except AttributeError as error:
                print(error)
    """
    lines = program(code).splitlines()
    assert len(lines) == 4
    assert "search library" in lines[1]
    assert "rayhpc run --engine ray" in lines[0]


def test_a_module_that_nobody_knows_may_be_one_of_the_real_ray(program: Program) -> None:
    code = """
        import importlib.util
        try:
            import ray.util.tracing
        except ModuleNotFoundError as error:
            print(error)
        assert importlib.util.find_spec("ray.util.tracing") is None
    """
    assert "rayhpc run --engine ray" in program(code)


def test_whatever_of_ray_is_not_there_is_found_with_the_real_one(program: Program) -> None:
    code = """
        import ray.util
        for text in (
            "from ray.util import spark",
            "from ray.util import nosuch",
            "from ray.util.state import nosuch",
            "from ray.tune import Tuner",
            "from ray.train.torch import TorchTrainer",
            "import ray.rllib.algorithms",
            "from ray.job_submission import JobSubmissionClient",
            "import ray.serve",
            "import ray.data.preprocessors",
        ):
            try:
                exec(text)
            except ImportError as error:
                print(error)
        from ray.util import ActorPool, queue
    """
    lines = program(code).splitlines()
    assert len(lines) == 9
    assert all("rayhpc run --engine ray" in line for line in lines), lines


def test_what_is_not_served_says_so_at_the_call(program: Program) -> None:
    code = """
        import ray, ray.dag, ray.util
        for call in (ray.client, ray.ClientBuilder, ray.java_function, ray.util.connect):
            try:
                call()
            except ray.exceptions.NotServedError as error:
                assert error.alternative
            else:
                raise AssertionError(call)
    """
    program(code)


def test_star_import_and_reload(program: Program) -> None:
    code = """
        import importlib
        from ray import *
        import ray
        assert get is ray.get
        assert importlib.reload(ray).__version__ == "2.58.0"
        assert ray.get is get and "ObjectRef" in dir(ray)
    """
    program(code)


def test_import_ray_is_quick_and_loads_no_heavy_module(program: Program) -> None:
    code = """
        import sys
        import ray
        heavy = {"numpy", "psutil", "click", "rich", "jinja2", "asyncio"} & set(sys.modules)
        print(sorted(heavy))
    """
    assert program(code) == "[]"


def test_rays_own_paths_of_what_is_here_under_another_name() -> None:
    import rayhpc.experimental

    assert set(rayhpc.experimental.__all__) >= {"get_object_locations"}
    pytest.importorskip("joblib")
    from rayhpc.util import joblib
    from rayhpc.util.joblib import ray_backend

    assert ray_backend.RayBackend is joblib.RayBackend


def test_locations_before_a_cluster_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from rayhpc.experimental import get_local_object_locations, get_object_locations
    from rayhpc.runtime.process import current

    monkeypatch.setattr(current, "existing", lambda: None)
    for ask in (get_object_locations, get_local_object_locations):
        with pytest.raises(RuntimeError, match="no objects before init"):
            ask([])
