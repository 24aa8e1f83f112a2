"""The options of remote functions, actors and methods: their names, defaults and checks.

Used by `remote`, `remote_function`, `actor_class` and `actor_method`.  Options are checked as soon
as they are given, also in a decorator; what they mean for placement is in `placing`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from rayhpc.api.groups import strategies
from rayhpc.api.tasks import option_checks as checks
from rayhpc.api.tasks import placing_checks
from rayhpc.api.tasks.unknown_names import refuse_unknown

O = TypeVar("O", bound="_Options")  # noqa: E741

DEFAULT_MAX_RETRIES = 3
ASYNC_MAX_CONCURRENCY = 1000

_COMMON: dict[str, checks.Check] = {
    "_labels": checks.anything,
    "_metadata": checks.metadata,
    "accelerator_type": checks.text,
    "enable_task_events": checks.flag,
    "fallback_strategy": checks.anything,
    "label_selector": checks.selector,
    "memory": checks.amount,
    "name": checks.actor_name,
    "num_cpus": checks.amount,
    "num_gpus": checks.gpus,
    "object_store_memory": checks.amount,
    "placement_group": placing_checks.legacy_group,
    "placement_group_bundle_index": checks.count(checks.INFINITE),
    "placement_group_capture_child_tasks": checks.flag,
    "resources": checks.resources,
    "runtime_env": placing_checks.environment,
    "scheduling_strategy": placing_checks.strategy,
}
_CALL: dict[str, checks.Check] = {
    "_generator_backpressure_num_objects": checks.window,
    "enable_task_events": checks.flag,
    "num_returns": checks.num_returns,
    "retry_exceptions": checks.retry_exceptions,
    "tensor_transport": checks.anything,
}
_OLD_GROUP = (
    "placement_group",
    "placement_group_bundle_index",
    "placement_group_capture_child_tasks",
)


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    """Checked options; None means not given."""

    @classmethod
    def checks(cls) -> Mapping[str, checks.Check]:
        """Name → check, for every option."""
        raise TypeError(f"{cls.__name__} has no options")

    @classmethod
    def subject(cls) -> str:
        """What these options belong to, for messages."""
        raise TypeError(f"{cls.__name__} has no options")

    def merged(self: O, **changed: Any) -> O:
        """These options with some of them overridden; None resets an option.

        Raises:
            ValueError: an unknown option (the text suggests the closest one), or an invalid value.
            TypeError: a value of the wrong type.
        """
        kept = check(type(self), changed)
        _refuse_two_groups(self, changed)
        if kept.get("_metadata"):
            kept["_metadata"] = _merged(getattr(self, "_metadata", None) or {}, kept["_metadata"])
        plain = type(self)()
        defaults = {name: getattr(plain, name) for name, value in kept.items() if value is None}
        other = msgspec.structs.replace(self, **{**kept, **defaults})
        other.check_together()
        return other

    def changed(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        plain = type(self)()
        values = msgspec.structs.asdict(self)
        return {k: v for k, v in values.items() if v != getattr(plain, k)}

    def check_together(self) -> None:
        """Check options that depend on each other."""


class _Placed(_Options, frozen=True, kw_only=True):
    """The options that functions and actors have in common."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    object_store_memory: float | None = None
    resources: dict[str, float] | None = None
    accelerator_type: str | None = None
    label_selector: dict[str, str] | None = None
    scheduling_strategy: Any = None
    runtime_env: dict[str, Any] | None = None
    name: str | None = None
    enable_task_events: bool | None = None
    fallback_strategy: Any = None
    _metadata: dict[str, Any] | None = None
    _labels: Any = None


def _default_max_retries() -> int:
    """RAY_TASK_MAX_RETRIES (-1: unlimited), or 3 if it is unset or not a number."""
    text = os.environ.get("RAY_TASK_MAX_RETRIES", "")
    number = int(text) if text.removeprefix("-").isdecimal() else DEFAULT_MAX_RETRIES
    return number if number >= -1 else DEFAULT_MAX_RETRIES


class FunctionOptions(_Placed, frozen=True, kw_only=True):
    """The options of a remote function."""

    num_returns: int | str | None = None
    max_retries: int = msgspec.field(default_factory=_default_max_retries)
    retry_exceptions: Any = False
    max_calls: int | None = None
    tensor_transport: Any = None
    _generator_backpressure_num_objects: int | None = None

    @classmethod
    def checks(cls) -> Mapping[str, checks.Check]:
        """Name → check, for every option of a function."""
        return FUNCTION_CHECKS

    @classmethod
    def subject(cls) -> str:
        """What these options belong to."""
        return "remote functions"


class ActorOptions(_Placed, frozen=True, kw_only=True):
    """The options of an actor class."""

    namespace: str | None = None
    lifetime: str | None = None
    get_if_exists: bool = False
    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int | None = None
    max_pending_calls: int = -1
    concurrency_groups: dict[str, int] | None = None
    allow_out_of_order_execution: bool | None = None
    enable_tensor_transport: bool | None = None

    @classmethod
    def checks(cls) -> Mapping[str, checks.Check]:
        """Name → check, for every option of an actor."""
        return ACTOR_CHECKS

    @classmethod
    def subject(cls) -> str:
        """What these options belong to."""
        return "actors"

    def check_together(self) -> None:
        """Check options that depend on each other."""
        if self.get_if_exists and not self.name:
            raise ValueError("The actor name must be specified to use `get_if_exists`.")


class MethodOptions(_Options, frozen=True, kw_only=True):
    """The options of an actor's method; None: the method's, or its actor's, default."""

    num_returns: int | str | None = None
    concurrency_group: str | None = None
    max_task_retries: int | None = None
    retry_exceptions: Any = None
    name: str | None = None
    enable_task_events: bool | None = None
    tensor_transport: Any = None
    _generator_backpressure_num_objects: int | None = None

    @classmethod
    def checks(cls) -> Mapping[str, checks.Check]:
        """Name → check, for every option of a method."""
        return METHOD_CHECKS

    @classmethod
    def subject(cls) -> str:
        """What these options belong to."""
        return "actor methods"


FUNCTION_CHECKS: dict[str, checks.Check] = {
    **_COMMON,
    **_CALL,
    "max_calls": checks.count(0),
    "max_retries": checks.count(checks.INFINITE),
    "name": checks.title,
}
ACTOR_CHECKS: dict[str, checks.Check] = {
    **_COMMON,
    "allow_out_of_order_execution": checks.flag,
    "concurrency_groups": checks.groups,
    "enable_tensor_transport": checks.flag,
    "get_if_exists": checks.flag,
    "lifetime": checks.one_of("detached", "non_detached"),
    "max_concurrency": checks.count(1),
    "max_pending_calls": checks.pending_calls,
    "max_restarts": checks.count(checks.INFINITE),
    "max_task_retries": checks.count(checks.INFINITE),
    "namespace": checks.text,
}
METHOD_CHECKS: dict[str, checks.Check] = {
    **_CALL,
    "concurrency_group": checks.text,
    "max_task_retries": checks.count(checks.INFINITE),
    "name": checks.title,
}


def check(kind: type[_Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given options, checked; deprecated ones under their present names.

    Raises:
        ValueError: an unknown option (the text suggests the closest one), or an invalid value.
        TypeError: a value of the wrong type.
    """
    known = kind.checks()
    kept = {}
    for name, value in given.items():
        if name not in known:
            refuse_unknown(name, kind.subject(), known)
        kept[name] = None if value is None else known[name](name, value)
    _replace_old_group(kept, given)
    return kept


def check_undecided(given: Mapping[str, Any]) -> None:
    """Check options of `@remote(...)` before it is known what is decorated.

    Raises:
        ValueError: an option that neither functions nor actors have, or an invalid value.
        TypeError: a value of the wrong type.
    """
    known = {**ACTOR_CHECKS, **FUNCTION_CHECKS}
    for name, value in given.items():
        if name not in known:
            refuse_unknown(name, "remote functions and actors", known)
        if value is not None:
            known[name](name, value)


def _replace_old_group(kept: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Turn `placement_group=…` and its companions into the strategy that replaced them."""
    group, index, capture = (kept.pop(name, None) for name in _OLD_GROUP)
    if not any(name in given for name in _OLD_GROUP) or group == "default":
        return
    if group is None and "placement_group" not in given:
        if index not in (None, -1):
            raise ValueError(
                f"placement_group_bundle_index is {index}, but there is no placement group: give "
                "one, or leave out the index."
            )
        return
    if kept.get("scheduling_strategy") is not None:
        if group is None:
            return
        raise _two_groups()
    strategy = strategies.PlacementGroupSchedulingStrategy(
        group, -1 if index is None else index, capture
    )
    kept["scheduling_strategy"] = placing_checks.strategy("scheduling_strategy", strategy)


def _merged(before: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """As in Ray, the options of each library are overridden one by one."""
    merged = {**before, **changed}
    for name, old in before.items():
        if isinstance(old, Mapping) and isinstance(merged[name], Mapping):
            merged[name] = {**old, **merged[name]}
    return merged


def _refuse_two_groups(before: _Options, changed: Mapping[str, Any]) -> None:
    """As in Ray, the old option cannot be combined with a strategy that was given before."""
    old = changed.get("placement_group")
    if old in (None, "default") or "scheduling_strategy" in changed:
        return
    if getattr(before, "scheduling_strategy", None) is not None:
        raise _two_groups()


def _two_groups() -> ValueError:
    return ValueError(
        "Give either placement_group or scheduling_strategy, not both; the placement_group "
        "option is the old name of PlacementGroupSchedulingStrategy."
    )


# -- resources -------------------------------------------------------------------------------------
def resources(options: FunctionOptions) -> dict[str, float]:
    """The resources of a task with these options: one CPU unless they say otherwise."""
    return _asked(options, 1.0 if options.num_cpus is None else options.num_cpus)


def actor_resources(options: ActorOptions) -> tuple[dict[str, float], dict[str, float]]:
    """What an actor needs to be placed, and what it holds while alive.

    As in Ray: without num_cpus, num_gpus and resources, 1 CPU for placement and none while alive;
    with any of them, the given amounts (1 CPU if num_cpus is not among them) for both.
    """
    if options.num_cpus is None and options.num_gpus is None and options.resources is None:
        return _asked(options, 1.0), _asked(options, 0.0)
    both = _asked(options, 1.0 if options.num_cpus is None else options.num_cpus)
    return both, both


def _asked(options: _Placed, cpus: float) -> dict[str, float]:
    asked = {"CPU": cpus, **(options.resources or {})}
    if options.num_gpus:
        asked["GPU"] = options.num_gpus
    if options.memory:
        asked["memory"] = options.memory
    if options.object_store_memory:
        asked["object_store_memory"] = options.object_store_memory
    if options.accelerator_type:
        asked[f"accelerator_type:{options.accelerator_type}"] = 0.001
    return asked
