"""From options to a scheduling class: resources in fixed point, strategy, labels, environment.

Used by `remote_function`, `actor_class` and `placement_group`.  Each option was already checked by
`options`; only checks that also need the resources happen here: whether a bundle can hold them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rayhpc.api.groups import strategies
from rayhpc.api.tasks.option_checks import OUR_METADATA
from rayhpc.runtime.process.context import running
from rayhpc.wire.feasibility import conditions_of, fits, in_words
from rayhpc.wire.messages.common import UNIT, Labels, Resources, SchedulingClass, Strategy


def fixed_point(resources: dict[str, float]) -> Resources:
    """Amounts in units of 1/10000, zeros omitted."""
    return {k: round(v * UNIT) for k, v in sorted(resources.items()) if v}


def amounts(resources: Resources) -> dict[str, float]:
    """The inverse of `fixed_point`."""
    return {k: v / UNIT for k, v in resources.items()}


def inherited_group() -> bytes:
    """The placement group that children of the running task inherit (empty: none)."""
    context = running.get()
    if context is None or not context.capture_group:
        return b""
    return context.grant.group


def captures_children(options: Any) -> bool:
    """Whether children of a task with these options inherit its placement group."""
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
    """The scheduling class for these (checked) options.

    Raises:
        ValueError: no bundle of its placement group can ever hold it.
    """
    wanted = fixed_point(resources)
    chosen = options.scheduling_strategy
    if isinstance(chosen, strategies.PlacementGroupSchedulingStrategy):
        _check_fits(chosen, wanted)
    strategy = _strategy(options)
    if seconds := _seconds(options):
        strategy = msgspec.structs.replace(strategy, seconds=seconds)
    return SchedulingClass(wanted, strategy, environment, job)


def _seconds(options: Any) -> float:
    """How long it says that it runs at most; 0: nothing."""
    given = options._metadata or {}
    return float(given.get(OUR_METADATA, {}).get("seconds", 0.0))


def _strategy(options: Any) -> Strategy:
    selector = conditions_of((options.label_selector or {}).items())
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
    if group is None or group.is_empty:
        return Strategy("labels", hard=selector) if selector else Strategy()
    return Strategy(
        "group",
        group=group.id_here(),
        bundle=chosen.placement_group_bundle_index,
        hard=selector,
    )


def _check_fits(chosen: strategies.PlacementGroupSchedulingStrategy, wanted: Resources) -> None:
    group, index = chosen.placement_group, chosen.placement_group_bundle_index
    if group is None or group.is_empty:
        return
    bundles = group.bundle_specs if index < 0 else [group.bundle_specs[index]]
    if any(fits(fixed_point(bundle), wanted) for bundle in bundles):
        return
    asked = in_words(wanted)
    if index >= 0:
        raise ValueError(
            f"{asked} does not fit into bundle {index} of the placement group, {bundles[0]}: ask "
            "for less, choose another bundle, or make the bundle larger."
        )
    raise ValueError(
        f"{asked} does not fit into any bundle of the placement group, {bundles}: ask for less or "
        "make a bundle larger."
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
