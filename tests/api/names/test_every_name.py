"""Every name of the API has a test that needs it to work across two nodes."""

from __future__ import annotations

from tests.api.names.naming import covered

NAMES = """
    init: address
    init: address="auto"
    init: RAYHPC_ADDRESS
    init: no address
    init: num_cpus
    init: num_gpus
    init: memory
    init: object_store_memory
    init: resources
    init: labels
    init: namespace
    init: runtime_env
    init: ignore_reinit_error
    init: log_to_driver
    init: logging_level
    init: its context
    before init
    shutdown
    is_initialized

    remote: function, bare
    remote: function, with arguments
    remote: class, bare
    remote: class, with arguments
    options of a function
    options of a class
    options: num_cpus
    options: num_gpus
    options: num_gpus, fractions
    options: memory
    options: resources
    options: num_returns, a number
    options: num_returns, dynamic
    options: num_returns, streaming
    options: max_retries
    options: retry_exceptions
    options: max_calls
    options: name, of a task
    options: name, of an actor
    options: namespace
    options: lifetime="detached"
    options: get_if_exists
    options: max_restarts
    options: max_task_retries
    options: max_concurrency
    options: concurrency_groups
    options: label_selector
    options: runtime_env, env_vars
    options: runtime_env, working_dir
    options: runtime_env, py_modules
    scheduling_strategy: DEFAULT
    scheduling_strategy: SPREAD
    scheduling_strategy: node affinity, hard
    scheduling_strategy: node affinity, soft
    scheduling_strategy: placement group
    scheduling_strategy: node labels

    get: single
    get: list
    get: timeout
    wait: num_returns
    wait: timeout
    wait: fetch_local
    put
    cancel
    cancel: force
    cancel: recursive
    kill
    get_actor
    method
    nodes
    cluster_resources
    available_resources
    get_gpu_ids
    get_runtime_context
    timeline

    ObjectRef: hashable
    ObjectRef: in arguments
    ObjectRef: in results
    ObjectRef: in closures
    ObjectRef: in other objects
    ObjectRef: pickled by hand
    ObjectRef: awaitable
    ObjectRef: future
    ObjectRef: hex
    ObjectRefGenerator: sync
    ObjectRefGenerator: async
    ObjectRefGenerator: back-pressure
    ObjectRefGenerator: completed

    actors: synchronous
    actors: threaded
    actors: asyncio
    actors: named
    actors: namespaced
    actors: detached
    actors: handles passed around
    actors: ordered calls per caller
    actors: exit_actor
    actors: several returns
    actors: generators
    actors: inheritance
    actors: last handle gone

    util.placement_group: PACK
    util.placement_group: SPREAD
    util.placement_group: STRICT_PACK
    util.placement_group: STRICT_SPREAD
    util.placement_group: ready
    util.placement_group: wait
    util.placement_group: bundle index
    util.placement_group: capture of child tasks
    util.placement_group_table
    util.get_placement_group
    util.get_current_placement_group
    util.remove_placement_group
    util.scheduling_strategies.NodeAffinitySchedulingStrategy
    util.scheduling_strategies.NodeLabelSchedulingStrategy
    util.scheduling_strategies.PlacementGroupSchedulingStrategy
    util.get_node_ip_address
    util.ActorPool
    util.queue.Queue
    util.queue.Empty
    util.queue.Full
    util.multiprocessing.Pool
    util.joblib
    util.futures.Executor
    util.state: nodes
    util.state: actors
    util.state: tasks
    util.state: objects
    util.state: placement groups
    util.progress_bar
    util.dask.ray_dask_get
    util.dask.enable_dask_on_ray
    util.dask.RayDaskCallback
    util.metrics.Counter
    util.metrics.Gauge
    util.metrics.Histogram
    util.register_serializer
    util.list_named_actors
    util.as_completed
    util.map_unordered
    util.annotations
    tqdm_ray.tqdm
    locations.get_object_locations
    services.get_node_ip_address
    the ids' classes
    RuntimeEnv
    ray._private.state.actors
    ray._private.state.state.placement_group_table
    ray._private.state.available_resources_per_node
    ray._private.services.get_node_ip_address
    ray.experimental.state.api.get_actor
    ray.autoscaler.sdk.request_resources
    cluster_utils.Cluster: add_node
    cluster_utils.Cluster: remove_node
    cluster_utils.Cluster: wait_for_nodes

    exceptions.RayError
    exceptions.RayTaskError
    exceptions.RayTaskError: the cause's type
    exceptions.RayTaskError: traceback, node and pid
    exceptions.RayActorError
    exceptions.ActorDiedError
    exceptions.ActorUnavailableError
    exceptions.ActorUnschedulableError
    exceptions.ActorAlreadyExistsError
    exceptions.WorkerCrashedError
    exceptions.GetTimeoutError
    exceptions.TaskCancelledError
    exceptions.TaskUnschedulableError
    exceptions.TaskPlacementGroupRemoved
    exceptions.PendingCallsLimitExceeded
    exceptions.ObjectLostError
    exceptions.ObjectFreedError
    exceptions.OwnerDiedError
    exceptions.ObjectStoreFullError
    exceptions.OutOfMemoryError
    exceptions.RuntimeEnvSetupError
    exceptions.NodeDiedError
    exceptions.UserCodeException

    numpy: zero-copy and read-only
    buffers of other objects
    whatever cloudpickle can carry
    output: stdout
    output: stderr
    output: name, pid, node
    output: repeated lines are folded
    GPUs: CUDA_VISIBLE_DEVICES
    GPUs: ROCR and HIP
    GPUs: Level Zero
    GPUs: ids untouched
    GPUs: fractions share one
"""


def test_every_name_has_a_test() -> None:
    names = [x.strip() for x in NAMES.splitlines() if x.strip()]
    assert len(names) == len(set(names))
    found = covered()
    assert sorted(set(names) - set(found)) == []
    # A name that is not in the list is one that was misspelt.
    assert sorted(set(found) - set(names)) == []
