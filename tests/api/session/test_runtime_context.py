"""What code can ask about where and as what it runs."""

from __future__ import annotations

import os
from typing import Any

import pytest

import rayhpc


def test_in_a_driver(ray: Any) -> None:
    context = ray.get_runtime_context()
    assert isinstance(context, ray.RuntimeContext)
    assert context.get_job_id() == context.job_id.hex()
    assert context.get_node_id() == ray.nodes()[0]["NodeID"] == context.node_id.hex()
    assert context.get_worker_id() == context.worker_id.hex()
    assert context.get_task_id() is None
    assert context.get_actor_id() is None
    assert context.get_assigned_resources() == {}
    assert context.get_placement_group_id() is None
    kinds = ("GPU", "HPU", "NPU", "TPU", "neuron_cores")
    assert context.get_accelerator_ids() == {kind: [] for kind in kinds}
    assert context.namespace == "tests"
    assert context.runtime_env.get("env_vars") is None
    assert context.gcs_address.count(":") == 1
    assert context.get()["job_id"] == context.job_id
    with pytest.raises(RuntimeError, match="outside an actor"):
        _ = context.current_actor
    with pytest.raises(RuntimeError, match="outside an actor"):
        _ = context.was_current_actor_reconstructed


def test_in_a_task(ray: Any) -> None:
    @ray.remote(num_cpus=2, runtime_env={"env_vars": {"A_OF_TEST": "1"}})
    def look() -> dict[str, Any]:
        context = rayhpc.get_runtime_context()
        return {
            "job": context.get_job_id(),
            "task": context.get_task_id(),
            "actor": context.get_actor_id(),
            "resources": context.get_assigned_resources(),
            "worker": context.get_worker_id(),
            "namespace": context.namespace,
            "env": context.runtime_env.get("env_vars"),
            "address": context.gcs_address,
            "initialized": rayhpc.is_initialized(),
            "name": context.get_task_name(),
        }

    ref = look.remote()
    found = ray.get(ref, timeout=30)
    here = ray.get_runtime_context()
    assert found["job"] == here.get_job_id()
    assert found["task"] == ref.task_id().hex()
    assert found["actor"] is None
    assert found["resources"] == {"CPU": 2.0}
    assert found["worker"] != here.get_worker_id()
    assert found["namespace"] == "tests"
    assert found["env"] == {"A_OF_TEST": "1"}
    assert found["address"] == here.gcs_address
    assert found["initialized"] is True
    assert found["name"].endswith("look")


def test_in_an_actor(ray: Any) -> None:
    @ray.remote
    class Looker:
        def look(self) -> tuple[Any, ...]:
            context = rayhpc.get_runtime_context()
            return (
                context.get_actor_id(),
                context.current_actor,
                context.was_current_actor_reconstructed,
                context.get_actor_name(),
                context.get()["actor_id"].hex(),
            )

        async def in_a_loop(self) -> str | None:
            return rayhpc.get_runtime_context().get_actor_id()

        def pid(self) -> int:
            return os.getpid()

    looker = Looker.options(name="looker").remote()
    actor, handle, again, name, identity = ray.get(looker.look.remote(), timeout=20)
    assert actor == identity == looker._actor_id.hex()
    assert handle == looker
    assert ray.get(handle.pid.remote(), timeout=20) == ray.get(looker.pid.remote(), timeout=20)
    assert again is False
    assert name == "looker"
    assert ray.get(looker.in_a_loop.remote(), timeout=20) == actor


def test_the_name_of_what_runs_is_its_own_whatever_the_task_is_called(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    def named() -> tuple[str | None, str | None]:
        context = rayhpc.get_runtime_context()
        return context.get_task_name(), context.get_task_function_name()

    @ray.remote(num_cpus=0)
    class Named:
        def method(self) -> str | None:
            return rayhpc.get_runtime_context().get_task_function_name()

        async def in_a_loop(self) -> str | None:
            return rayhpc.get_runtime_context().get_task_function_name()

    assert ray.get_runtime_context().get_task_function_name() is None
    found = ray.get(named.options(name="other").remote(), timeout=30)
    assert found == ("other", f"{__name__}.named")
    actor = Named.remote()
    assert ray.get(actor.in_a_loop.remote(), timeout=30).endswith("<locals>.Named.in_a_loop")
    # The same in a thread: this actor is an async one.
    assert ray.get(actor.method.options(name="x").remote()) == f"{__name__}.Named.method"
