"""Actors: looking them up, killing them, exiting; also exports the names of the other modules.

Used by users and by all code that handles actors.
"""

from __future__ import annotations

from typing import Any

from rayhpc.api.actors.actor_class import ActorClass, ActorClassInheritanceException
from rayhpc.api.actors.actor_handle import ActorHandle, from_spec
from rayhpc.api.actors.actor_method import ActorMethod, method
from rayhpc.api.tasks.given import encodable, shown
from rayhpc.runtime.process import current
from rayhpc.runtime.process.context import ActorExit, running
from rayhpc.runtime.process.interrupts import inside
from rayhpc.wire.messages import actors, cluster


def get_actor(name: str, namespace: str | None = None) -> ActorHandle[Any]:
    """Look up a living actor by name.

    The handle does not keep the actor alive.

    Args:
        name: the actor's name.
        namespace: the namespace it was registered in; None: this job's namespace.

    Raises:
        ValueError: there is no such actor, or the name is empty.
        TypeError: the name is not text.
    """
    if not name:
        raise ValueError(f"get_actor() needs the name of an actor, and got {name!r}.")
    for what, value in (("name", name), ("namespace", namespace)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{what} must be text, not {shown(value)} ({type(value).__name__}).")
        encodable(what, value or "")
    if namespace == "":
        raise ValueError("namespace must not be an empty string.")
    client = current.client()
    where = namespace or client.facts.namespace
    with inside:
        found: actors.ActorRow | None = client.ask_head(
            cluster.FindActor(name, where), actors.ActorRow | None
        )
    if found is None:
        raise ValueError(
            f"Failed to look up actor with name '{name}' in namespace '{where}': it was never "
            "created, it has died, or it lives in another namespace (give namespace=…; "
            "util.list_named_actors(all_namespaces=True) lists them all)."
        )
    return from_spec(found.spec)


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """The names of all living named actors.

    Args:
        all_namespaces: include every namespace; each row is then {"name": …, "namespace": …}.
    """
    client = current.client()
    namespace = "" if all_namespaces else client.facts.namespace
    found = client.ask_head(cluster.NamedActors(namespace), list[tuple[str, str]])
    if all_namespaces:
        return [{"name": name, "namespace": where} for where, name in sorted(found)]
    return sorted(name for _, name in found)


def kill(actor: ActorHandle[Any], *, no_restart: bool = True) -> None:
    """Kill an actor's process at once; its unfinished calls fail.

    Args:
        actor: the actor's handle.
        no_restart: False: the actor is restarted if its max_restarts allows.

    Raises:
        ValueError: not an actor handle.
        RaySystemError: the actor belongs to a cluster that this process has left.
    """
    if not isinstance(actor, ActorHandle):
        raise ValueError(
            f"kill() is only for actors; for tasks there is cancel(). Got: {type(actor).__name__}."
        )
    client = current.client()
    client.actor(actor._ray_actor, actor)
    with inside:
        client.kill_actor(actor._ray_actor, no_restart)


def exit_actor() -> None:
    """Terminate the actor whose method calls this, gracefully.

    As with every graceful exit, the class's `__ray_shutdown__()` is called if it has one, and
    atexit handlers run, which may use the cluster. Neither happens when the actor is killed or the
    cluster ends.

    Raises:
        TypeError: not called inside an actor.
    """
    if current.is_connected():
        context = running.get()
        if context is not None and context.actor:
            raise ActorExit("exit_actor was called")
    raise TypeError(
        "exit_actor() was called outside an actor: it ends the actor in whose method it is called. "
        "To end another actor use kill(handle), to leave the cluster shutdown()."
    )


__all__ = [
    "ActorClass",
    "ActorClassInheritanceException",
    "ActorHandle",
    "ActorMethod",
    "exit_actor",
    "get_actor",
    "kill",
    "list_named_actors",
    "method",
]
