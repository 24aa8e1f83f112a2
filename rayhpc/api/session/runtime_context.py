"""`get_runtime_context()`: the job, node, worker, task and actor this code runs in.

Used by users.  Values are looked up when asked for, so one context serves the whole process.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

from rayhpc.api.actors.actor_handle import ActorHandle
from rayhpc.api.groups.placing import amounts
from rayhpc.api.session.runtime_env import RuntimeEnv
from rayhpc.runtime.process import current
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.context import TaskContext, running
from rayhpc.runtime.values.ids import (
    ActorID,
    JobID,
    NodeID,
    PlacementGroupID,
    TaskID,
    WorkerID,
    worker_id,
)
from rayhpc.wire.address import TASK_ID_BYTES

# As programs look them up, whether there are any or not.
_KINDS = ("GPU", "HPU", "NPU", "TPU", "neuron_cores")


class RuntimeContext:
    """Where the caller runs, and as what."""

    @property
    def _client(self) -> Client:
        return current.client()

    # -- ids as text -------------------------------------------------------------------------------
    def get_job_id(self) -> str:
        """The job's id in hex."""
        return self.job_id.hex()

    def get_node_id(self) -> str:
        """The node's id in hex."""
        return self._client.facts.node_id

    def get_worker_id(self) -> str:
        """This process's id in hex."""
        return self.worker_id.hex()

    def get_task_id(self) -> str | None:
        """The running task's id in hex; None in a driver."""
        context = running.get()
        return None if context is None else context.tid[:TASK_ID_BYTES].hex()

    def get_task_name(self) -> str | None:
        """The running task's name; None in a driver."""
        context = running.get()
        return None if context is None else context.name

    def get_task_function_name(self) -> str | None:
        """The running function or method with its module, whatever name the task was given; None
        in a driver.
        """
        context = running.get()
        if context is None:
            return None
        return context.name if context.function is None else _full_name(context.function)

    def get_attempt_number(self) -> int:
        """How many times the running task was started before."""
        context = running.get()
        return 0 if context is None else context.attempt

    def is_canceled(self) -> bool:
        """Whether the running task was cancelled; for actor methods, which nothing interrupts.

        Raises:
            RuntimeError: in a driver.
        """
        context = running.get()
        if context is None:
            raise RuntimeError("is_canceled() works in tasks and actor methods, not in drivers.")
        return self._client.is_cancelled(context.tid)

    def get_actor_id(self) -> str | None:
        """The actor's id in hex; None outside one."""
        actor = self._actor_id()
        return actor.hex() if actor else None

    def get_actor_name(self) -> str | None:
        """The actor's name (empty: it has none); None outside one."""
        order = self._client.actor_order()
        return None if order is None else order.spec.name

    def get_placement_group_id(self) -> str | None:
        """The id in hex of the placement group this runs in; None: no group."""
        context = running.get()
        return context.grant.group.hex() if context is not None and context.grant.group else None

    # -- ids as objects ----------------------------------------------------------------------------
    @property
    def job_id(self) -> JobID:
        """The job's id."""
        return JobID.from_int(self._client.facts.job)

    @property
    def node_id(self) -> NodeID:
        """The node's id."""
        return NodeID.from_hex(self._client.facts.node_id)

    @property
    def worker_id(self) -> WorkerID:
        """This process's id."""
        return worker_id(self._client.me)

    @property
    def task_id(self) -> TaskID | None:
        """The running task's id; None in a driver."""
        context = running.get()
        return None if context is None else TaskID(context.tid[:TASK_ID_BYTES])

    @property
    def actor_id(self) -> ActorID | None:
        """The actor's id; None outside one."""
        actor = self._actor_id()
        return ActorID(actor) if actor else None

    @property
    def current_placement_group_id(self) -> PlacementGroupID | None:
        """The id of the placement group this runs in; None: no group."""
        context = running.get()
        if context is None or not context.grant.group:
            return None
        return PlacementGroupID(context.grant.group)

    # -- resources ---------------------------------------------------------------------------------
    def get_assigned_resources(self) -> dict[str, float]:
        """The resources of the running task or actor, name → amount; empty in a driver."""
        context = running.get()
        return {} if context is None else amounts(context.grant.resources)

    def get_resource_ids(self) -> dict[str, list[str]]:
        """Kind of device → the ids this process may use."""
        return self.get_accelerator_ids()

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """Kind of device → the ids the running task or actor may use; empty for those of Ray's
        kinds that it has none of.
        """
        context = running.get()
        devices = {} if context is None else context.grant.devices
        return {kind: list(devices.get(kind, ())) for kind in (*_KINDS, *devices)}

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether tasks submitted here inherit this placement group."""
        context = running.get()
        return context is not None and context.capture_group

    # -- the actor ---------------------------------------------------------------------------------
    @property
    def current_actor(self) -> ActorHandle[Any]:
        """A handle to the actor this runs in; it does not keep the actor alive.

        Raises:
            RuntimeError: outside an actor.
        """
        order = self._client.actor_order()
        if order is None:
            raise RuntimeError("current_actor was asked for outside an actor's method.")
        return ActorHandle(order.spec.actor, order.spec.methods, None)

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether this actor has been restarted after a failure.

        Raises:
            RuntimeError: outside an actor.
        """
        order = self._client.actor_order()
        if order is None:
            raise RuntimeError(
                "was_current_actor_reconstructed was asked for outside an actor's method."
            )
        return order.incarnation > 0

    # -- the rest ----------------------------------------------------------------------------------
    @property
    def namespace(self) -> str:
        """The job's namespace for actor names."""
        return self._client.facts.namespace

    @property
    def runtime_env(self) -> RuntimeEnv:
        """The runtime environment this runs in."""
        return RuntimeEnv(**json.loads(self.get_runtime_env_string()))

    def get_runtime_env_string(self) -> str:
        """The runtime environment this runs in, as JSON."""
        return self._client.environment().decode() or "{}"

    def get_node_labels(self) -> dict[str, str]:
        """This node's labels."""
        from rayhpc.api.session.cluster_info import labels_of, node_states

        mine = self._client.facts.node_id
        for state in node_states(self._client):
            if state.info.node_id == mine:
                return labels_of(state.info)
        return {}

    @property
    def gcs_address(self) -> str:
        """The head's address, as `init(address=…)` takes it."""
        from pathlib import Path

        from rayhpc.launch.sessions import read_record

        record = read_record(Path(self._client.facts.session_dir))
        return "" if record is None else record.address

    def get(self) -> dict[str, Any]:
        """The ids as a dict, for old programs."""
        found: dict[str, Any] = {
            "job_id": self.job_id,
            "node_id": self.node_id,
            "namespace": self.namespace,
        }
        context: TaskContext | None = running.get()
        if context is not None:
            found["task_id"] = self.task_id
            if context.actor:
                found["actor_id"] = self.actor_id
        return found

    def _actor_id(self) -> bytes:
        """The actor of this thread's task or, in threads the user created, of this process."""
        context = running.get()
        if context is not None:
            return context.actor
        order = self._client.actor_order()
        return b"" if order is None else order.spec.actor


def _full_name(function: Any) -> str:
    """Module, class and name, as Ray spells them: a coroutine method by its full path."""
    if inspect.iscoroutinefunction(function):
        return f"{function.__module__}.{function.__qualname__}"
    name = getattr(function, "__name__", type(function).__name__)
    owner = getattr(function, "__self__", None)
    if owner is None:
        return f"{function.__module__}.{name}"
    return f"{type(owner).__module__}.{type(owner).__name__}.{name}"


_context = RuntimeContext()


def get_runtime_context() -> RuntimeContext:
    """The context of this code; starts the embedded cluster if there is none yet."""
    current.client()
    return _context


def get_gpu_ids() -> list[Any]:
    """The ids of the GPUs this task or actor may use: integers, or text if they are not numeric.

    Empty in a driver.
    """
    found = get_runtime_context().get_accelerator_ids()["GPU"]
    return [int(x) if x.isdecimal() else x for x in found]
