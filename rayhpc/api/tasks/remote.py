"""`remote`: makes a function or class run on the cluster.

Used by users, as a decorator (bare or with options) or as a plain call on any function or class,
at any time and as often as they like.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from rayhpc.api.actors.actor_class import ActorClass, make_actor_class
from rayhpc.api.tasks import options as opts
from rayhpc.api.tasks.remote_function import RemoteFunction

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_USAGE = (
    "The @remote decorator must be applied either with no arguments and no parentheses, for "
    "example '@remote', or with options by name, for example "
    "'@remote(num_cpus=2, resources={\"disk\": 1})'."
)


@overload
def remote(target: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap]


@overload
def remote(target: Callable[P, R], /) -> RemoteFunction[P, R]: ...


@overload
def remote(**options: Any) -> Callable[[Any], Any]: ...


def remote(*args: Any, **options: Any) -> Any:
    """Turn a function into a remote function, or a class into an actor class.

    Args:
        args: the function or class, if the decorator is used bare.
        options: for functions (num_cpus, num_gpus, memory, resources, num_returns,
            max_retries, retry_exceptions, max_calls, name, scheduling_strategy, label_selector,
            runtime_env) or for actors (the same placement options; name, namespace, lifetime,
            get_if_exists, max_restarts, max_task_retries, max_concurrency, concurrency_groups,
            max_pending_calls).  `_metadata={"rayhpc.io/options": {"seconds": 600}}` says that it
            runs for 600 s at most: it starts only on a node that has so much time left.

    Returns:
        A `RemoteFunction` or `ActorClass`; with options, a decorator that makes one.

    Raises:
        ValueError: an unknown option (the text suggests the closest one), or an invalid value.
        TypeError: neither a function nor a class, or an option of the wrong type.
    """
    if len(args) == 1 and not options:
        return _make(args[0], {})
    if args or not options:
        raise TypeError(_USAGE)
    opts.check_undecided(options)
    return lambda target: _make(target, options)


def _make(target: Any, options: dict[str, Any]) -> Any:
    if isinstance(target, (RemoteFunction, ActorClass)):
        return target.options(**options) if options else target
    if inspect.isclass(target):
        return make_actor_class(target, opts.ActorOptions().merged(**options))
    if inspect.isroutine(target):
        return RemoteFunction(target, opts.FunctionOptions().merged(**options))
    raise TypeError(
        "The @remote decorator must be applied to either a function or a class, not to "
        f"{target!r} ({type(target).__name__}). {_USAGE}"
    )
