"""Checks of the options that say where a task or actor runs and in which environment.

Used only by `options`; a check is like those of `option_checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayhpc.api.groups import strategies
from rayhpc.api.groups.placement_group import PlacementGroup
from rayhpc.api.session.runtime_env import checked
from rayhpc.api.tasks.given import shown, wrong_type
from rayhpc.api.tasks.option_checks import whole_number

STRATEGY_WORDS = (strategies.DEFAULT, strategies.SPREAD)
STRATEGIES = (
    strategies.PlacementGroupSchedulingStrategy,
    strategies.NodeAffinitySchedulingStrategy,
    strategies.NodeLabelSchedulingStrategy,
)


def strategy(name: str, value: Any) -> Any:
    """A scheduling strategy."""
    if isinstance(value, str):
        if value not in STRATEGY_WORDS:
            raise ValueError(
                f"The option {name!r} must be one of {', '.join(map(repr, STRATEGY_WORDS))} or a "
                f"strategy object, not {shown(value)}."
            )
        return value
    if not isinstance(value, STRATEGIES):
        kinds = ", ".join(x.__name__ for x in STRATEGIES)
        raise wrong_type(name, f"'DEFAULT', 'SPREAD' or one of {kinds}", value)
    if isinstance(value, strategies.PlacementGroupSchedulingStrategy):
        group: Any = value.placement_group
        if group == "default":  # Ray's word for: as if no strategy were given
            return None
        _check_bundle(group, value.placement_group_bundle_index)
    return value


def _check_bundle(group: Any, index: Any) -> None:
    """A bundle index: -1 is any; it requires a group, and must be one of its bundles."""
    if group is not None and not isinstance(group, PlacementGroup):
        raise TypeError(
            f"placement_group must be a PlacementGroup or None, not a {type(group).__name__}."
        )
    number = whole_number("placement_group_bundle_index", index, "an integer")
    if group is None or group.is_empty:
        if number != -1:
            raise ValueError(
                f"placement_group_bundle_index is {number}, but there is no placement group: give "
                "one, or leave out the index."
            )
        return
    bundles = group.bundle_count
    if number < -1 or number >= bundles:
        raise ValueError(
            f"placement_group_bundle_index is {number}: it must be -1 (any bundle) or from 0 to "
            f"{bundles - 1}, since the group has {bundles} bundle(s)."
        )


def legacy_group(name: str, value: Any) -> Any:
    """The old option `placement_group`: a group, None, or the word "default"."""
    if value == "default" or isinstance(value, PlacementGroup):
        return value
    raise wrong_type(name, "a PlacementGroup, None or 'default'", value)


def environment(name: str, value: Any) -> dict[str, Any]:
    """A runtime environment."""
    if not isinstance(value, Mapping):
        raise wrong_type(name, "a dict or RuntimeEnv", value)
    return checked(value)
