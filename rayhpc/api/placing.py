"""From options to a scheduling class: resources in fixed point, strategy, labels, environment.

Used by `remote_function` and `actor`.  Checks nothing: `options` has.
"""

from __future__ import annotations

import json
from typing import Any

from rayhpc.api import strategies
from rayhpc.runtime.context import running
from rayhpc.wire.messages.common import UNIT, Labels, Resources, SchedulingClass, Strategy


def fixed_point(resources: dict[str, float]) -> Resources:
    """Amounts in units of 1/10000; zeros are left out."""
    return {k: round(v * UNIT) for k, v in sorted(resources.items()) if v}


def amounts(resources: Resources) -> dict[str, float]:
    """The reverse of `fixed_point`."""
    return {k: v / UNIT for k, v in resources.items()}


def inherited_group() -> bytes:
    """The placement group that a child of the running task inherits (empty: none)."""
    context = running.get()
    if context is None or not context.capture_group:
        return b""
    return context.grant.group


def captures_children(options: Any) -> bool:
    """Whether the children of a task with these options inherit its placement group."""
    strategy = options.scheduling_strategy
    if isinstance(strategy, strategies.PlacementGroupSchedulingStrategy):
        captured = strategy.placement_group_capture_child_tasks
        if captured is not None:
            return bool(captured)
    context = running.get()
    inherits = strategy is None and context is not None and context.capture_group
    return bool(inherits and context is not None and context.grant.group)


def scheduling_class(
    options: Any, resources: dict[str, float], job: int, environment: bytes
) -> SchedulingClass:
    """The class of a task or actor with these (checked) options."""
    return SchedulingClass(
        fixed_point(resources), _strategy(options), environment, job
    )


def environment_of(options: Any, inherited: bytes) -> bytes:
    """The runtime environment as canonical JSON: the job's, with the option's on top."""
    own = options.runtime_env
    if not own:
        return inherited
    merged: dict[str, Any] = json.loads(inherited) if inherited else {}
    for key, value in dict(own).items():
        if key == "env_vars":
            merged["env_vars"] = {**merged.get("env_vars", {}), **value}
        else:
            merged[key] = value
    return json.dumps(merged, sort_keys=True).encode()


def _strategy(options: Any) -> Strategy:
    selector = _selector(options.label_selector)
    chosen = options.scheduling_strategy
    if chosen is None:
        group = inherited_group()
        if group:
            return Strategy("group", group=group, hard=selector)
        return Strategy("labels", hard=selector) if selector else Strategy()
    if chosen == "DEFAULT":
        return Strategy("labels", hard=selector) if selector else Strategy()
    if chosen == "SPREAD":
        return Strategy("spread", hard=selector)
    if isinstance(chosen, strategies.NodeAffinitySchedulingStrategy):
        return Strategy("node", node=chosen.node_id, soft=chosen.soft, hard=selector)
    if isinstance(chosen, strategies.NodeLabelSchedulingStrategy):
        return Strategy(
            "labels", hard=_conditions(chosen.hard) + selector, wish=_conditions(chosen.soft)
        )
    group = chosen.placement_group
    if group is None:
        return Strategy("labels", hard=selector) if selector else Strategy()
    return Strategy(
        "group",
        group=group.id.binary(),
        bundle=chosen.placement_group_bundle_index,
        hard=selector,
    )


def _conditions(conditions: Any) -> list[Labels]:
    names = {
        strategies.In: "in",
        strategies.NotIn: "not_in",
        strategies.Exists: "exists",
        strategies.DoesNotExist: "not_exists",
    }
    found = []
    for key, condition in (conditions or {}).items():
        values = [str(x) for x in getattr(condition, "values", ())]
        found.append(Labels(key, names[type(condition)], values))
    return found


def _selector(selector: dict[str, str] | None) -> list[Labels]:
    """`label_selector` in Ray's notation: "x", "!x", "in(a,b)", "!in(a,b)"."""
    found = []
    for key, text in (selector or {}).items():
        negated = text.startswith("!")
        body = text[1:] if negated else text
        values = [body]
        if body.startswith("in(") and body.endswith(")"):
            values = [x.strip() for x in body[3:-1].split(",")]
        found.append(Labels(key, "not_in" if negated else "in", values))
    return found
