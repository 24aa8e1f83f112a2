"""Where a task or actor runs: the values of the option `scheduling_strategy`.

Used by users, `options` (which checks them) and `placing` (which turns them into messages).  Only
checks the form of its arguments.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from rayhpc.api.tasks.given import encodable, shown
from rayhpc.runtime.values.ids import PlacementGroupID

DEFAULT = "DEFAULT"
SPREAD = "SPREAD"
_NODE_ID = re.compile("[0-9a-f]{56}")


class Group(Protocol):
    """A placement group (`placement_group.PlacementGroup`)."""

    id: PlacementGroupID

    @property
    def is_empty(self) -> bool:
        """Whether this stands for no group."""

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """Each bundle's resources."""


class PlacementGroupSchedulingStrategy:
    """Run inside a placement group.

    Args:
        placement_group: the group; None: no group, even where one would be inherited.
        placement_group_bundle_index: which bundle; -1: any with room.
        placement_group_capture_child_tasks: whether tasks and actors submitted from inside also
            run in the group; None: as for the parent.
    """

    def __init__(
        self,
        placement_group: Group | None,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks

    def __repr__(self) -> str:
        return (
            f"PlacementGroupSchedulingStrategy({self.placement_group!r}, "
            f"placement_group_bundle_index={self.placement_group_bundle_index}, "
            "placement_group_capture_child_tasks="
            f"{self.placement_group_capture_child_tasks})"
        )


class NodeAffinitySchedulingStrategy:
    """Run on one node.

    Args:
        node_id: the node's id, as text or `NodeID`.
        soft: if the node is gone or can never hold it, run elsewhere; otherwise fail with
            TaskUnschedulableError or ActorUnschedulableError.

    Raises:
        ValueError: not a node id.
    """

    def __init__(
        self,
        node_id: str,
        soft: bool,
        _spill_on_unavailable: bool = False,
        _fail_on_unavailable: bool = False,
    ) -> None:
        text = getattr(node_id, "hex", None)
        self.node_id: str = text() if callable(text) else str(node_id)
        if not _NODE_ID.fullmatch(self.node_id):
            raise ValueError(
                f"A node's id is text of 56 hexadecimal digits, as nodes() and "
                f"get_runtime_context().get_node_id() give it, not {shown(node_id)}."
            )
        self.soft = soft
        self._spill_on_unavailable = _spill_on_unavailable
        self._fail_on_unavailable = _fail_on_unavailable

    def __repr__(self) -> str:
        return f"NodeAffinitySchedulingStrategy({self.node_id!r}, soft={self.soft})"


class In:
    """The label has one of these values."""

    def __init__(self, *values: str) -> None:
        self.values = list(values)

    def __repr__(self) -> str:
        return f"In({', '.join(map(repr, self.values))})"


class NotIn:
    """The label is missing or has none of these values."""

    def __init__(self, *values: str) -> None:
        self.values = list(values)

    def __repr__(self) -> str:
        return f"NotIn({', '.join(map(repr, self.values))})"


class Exists:
    """The node has the label, with any value."""

    def __repr__(self) -> str:
        return "Exists()"


class DoesNotExist:
    """The node has no such label."""

    def __repr__(self) -> str:
        return "DoesNotExist()"


LabelCondition = In | NotIn | Exists | DoesNotExist


class NodeLabelSchedulingStrategy:
    """Run on a node with these labels.

    Args:
        hard: label → condition; all must hold.
        soft: label → condition; preferred where such a node is available.

    Raises:
        ValueError: neither `hard` nor `soft` names a label, or a condition has no value or is none
            of In, NotIn, Exists, DoesNotExist.
    """

    def __init__(
        self,
        hard: dict[str, LabelCondition] | None = None,
        *,
        soft: dict[str, LabelCondition] | None = None,
    ) -> None:
        if not hard and not soft:
            raise ValueError(
                "The `hard` and `soft` parameter of NodeLabelSchedulingStrategy cannot both be "
                'empty: give at least one label, for example hard={"zone": In("a", "b")}.'
            )
        self.hard = _checked("hard", hard)
        self.soft = _checked("soft", soft)

    def __repr__(self) -> str:
        return f"NodeLabelSchedulingStrategy({self.hard!r}, soft={self.soft!r})"


SchedulingStrategy = (
    str
    | PlacementGroupSchedulingStrategy
    | NodeAffinitySchedulingStrategy
    | NodeLabelSchedulingStrategy
    | None
)


def _checked(name: str, conditions: Any) -> dict[str, LabelCondition]:
    if conditions is None:
        return {}
    if not isinstance(conditions, dict):
        raise ValueError(
            f"The {name} parameter must be a map of label → condition, not a "
            f"{type(conditions).__name__}."
        )
    for label, condition in conditions.items():
        if not isinstance(label, str):
            raise ValueError(
                f"The map key of the {name} parameter must be of type str: a label's name, not "
                f"{shown(label)}."
            )
        encodable(name, label)
        if not isinstance(condition, (In, NotIn, Exists, DoesNotExist)):
            raise ValueError(
                f"{name}[{label!r}] must be one of the `In`, `NotIn`, `Exists` or `DoesNotExist` "
                f"operators, not a {type(condition).__name__}."
            )
        if isinstance(condition, (In, NotIn)):
            _check_values(name, label, condition)
    return dict(conditions)


def _check_values(name: str, label: str, condition: In | NotIn) -> None:
    operator = type(condition).__name__
    if not condition.values:
        raise ValueError(
            f"{name}[{label!r}]: The variadic parameter of the {operator} operator must be a "
            "non-empty tuple: give it at least one value."
        )
    for i, value in enumerate(condition.values):
        if not isinstance(value, str):
            raise ValueError(
                f"{name}[{label!r}]: Type of value in position {i} for the {operator} operator "
                f"must be str, not {shown(value)} ({type(value).__name__})."
            )
        encodable(name, value)
