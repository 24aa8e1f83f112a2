"""Whether a demand fits a node, and what to say when it fits none.

Used by the head (actors, placement groups) and by raylets (leases), so that both decide alike.
Pure functions over the messages' types; keeps no state and never chooses between two nodes that
both fit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from rayhpc.wire.messages.common import UNIT, Labels, NodeInfo, Resources, Strategy

# Every node has its id as a label, under Ray's names (the older one last) and under ours.
NODE_ID_LABELS = ("ray.io/node-id", "rayhpc/node-id", "ray.io/node_id")
#: The label with a node's end, in seconds since 1970; a node without it has no end that is known.
END_LABEL = "rayhpc.io/end-time"
#: The variable by which whoever starts a node says it, where no batch system does.
END_VARIABLE = "RAYHPC_END_TIME"
_BYTES = ("memory", "object_store_memory")
_GIB = 2**30


class Labelled(Protocol):
    """What has labels: a node, or a machine that may become one."""

    @property
    def node_id(self) -> str:
        """Its id; empty: not known yet."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        ...


def fits(available: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    """Whether every amount of `wanted` is available (both in units of 1/10000)."""
    return all(available.get(name, 0) >= amount for name, amount in wanted.items() if amount > 0)


def add(amounts: Resources, more: Mapping[str, int]) -> None:
    """Add `more` to `amounts`, in place."""
    for name, amount in more.items():
        amounts[name] = amounts.get(name, 0) + amount


def subtract(amounts: Resources, less: Mapping[str, int]) -> None:
    """Subtract `less` from `amounts`, in place; the result may be negative."""
    for name, amount in less.items():
        amounts[name] = amounts.get(name, 0) - amount


def sum_of(parts: Iterable[Mapping[str, int]]) -> Resources:
    """The sum of several amounts."""
    total: Resources = {}
    for part in parts:
        add(total, part)
    return total


def labels_match(node: Labelled, conditions: Iterable[Labels]) -> bool:
    """Whether a node's labels, including its id, meet all conditions."""
    return all(_holds(node, condition) for condition in conditions)


def _holds(node: Labelled, condition: Labels) -> bool:
    value = node.node_id if condition.key in NODE_ID_LABELS else node.labels.get(condition.key)
    if condition.op == "in":
        return value in condition.values
    if condition.op == "not_in":
        return value not in condition.values
    if condition.op == "exists":
        return value is not None
    return value is None


def conditions_of(selector: Iterable[tuple[str, str]]) -> list[Labels]:
    """A label selector in Ray's notation: "x", "!x", "in(a,b)", "!in(a,b)"."""
    found = []
    for key, text in selector:
        negated = text.startswith("!")
        body = text[1:] if negated else text
        values = [body]
        if body.startswith("in(") and body.endswith(")"):
            values = [value.strip() for value in body[3:-1].split(",")]
        found.append(Labels(key, "not_in" if negated else "in", values))
    return found


def end_of(labels: Mapping[str, str]) -> float:
    """When a node with these labels ends, in seconds since 1970; infinity: nobody knows."""
    try:
        return float(labels.get(END_LABEL, "inf"))
    except ValueError:
        return math.inf


def lasts(labels: Mapping[str, str], seconds: float, at: float) -> bool:
    """Whether what runs for so long, from `at` on (since 1970), ends before the node."""
    return end_of(labels) - at >= seconds


def can_ever(
    info: NodeInfo, wanted: Mapping[str, int], strategy: Strategy, at: float = 0.0
) -> bool:
    """Whether the node could hold `wanted` if it were empty, and the strategy allows it.

    Placement groups are ignored: they have nodes of their own.  `at` is when it would start, in
    seconds since 1970; without it a node's end is ignored as well.
    """
    if strategy.kind == "node" and not strategy.soft and info.node_id != strategy.node:
        return False
    if strategy.seconds and not lasts(info.labels, strategy.seconds, at):
        return False
    return labels_match(info, strategy.hard) and fits(info.total, wanted)


# -- in words ------------------------------------------------------------------------------------
def in_words(resources: Mapping[str, int]) -> str:
    """Amounts in readable form: `2 CPU, 0.5 GPU, 1.5 GiB memory`."""
    shown = [_one(name, amount) for name, amount in resources.items() if amount]
    return ", ".join(shown) or "nothing"


def _one(name: str, amount: int) -> str:
    value = amount / UNIT
    if name in _BYTES and value >= _GIB / 1024:
        return f"{value / _GIB:.3g} GiB {name}"
    return f"{value:g} {name}"


def describe_labels(conditions: Iterable[Labels]) -> str:
    """Label conditions in readable form: `zone in (a, b) and gpu exists`."""
    words = {"in": "in", "not_in": "not in", "exists": "exists", "not_exists": "does not exist"}
    parts = []
    for condition in conditions:
        values = f" ({', '.join(condition.values)})" if condition.op in ("in", "not_in") else ""
        parts.append(f"{condition.key} {words.get(condition.op, condition.op)}{values}")
    return " and ".join(parts)


def too_short(infos: Iterable[NodeInfo], wanted: Mapping[str, int], strategy: Strategy) -> str:
    """That none of these nodes, which could hold `wanted`, has enough time left."""
    last = max((end_of(info.labels) for info in infos), default=0.0)
    # Not for how long: a sentence that changes by itself would be said again and again.
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last))
    return (
        f"no node that could hold {in_words(wanted)} lasts for another {strategy.seconds:g} s "
        f"(the last one ends at {when}); ask for less time, or for a longer job"
    )


def explain(
    infos: Iterable[NodeInfo], wanted: Mapping[str, int], strategy: Strategy, at: float = 0.0
) -> str:
    """Why none of these nodes can ever hold `wanted`; an empty string if one can.

    Says what the closest node has, so that the user sees what to ask for instead.  `at` is as for
    `can_ever`.
    """
    nodes = list(infos)
    if not nodes:
        return f"{in_words(wanted)} is pending: the cluster has no node"
    able = [info for info in nodes if can_ever(info, wanted, strategy)]
    if any(can_ever(info, wanted, strategy, at) for info in able):
        return ""
    if able:
        return too_short(able, wanted, strategy)
    allowed = [info for info in nodes if labels_match(info, strategy.hard)]
    if not allowed:
        return (
            f"no node has labels such that {describe_labels(strategy.hard)}; start one with "
            "--labels, or change the label selector"
        )
    if strategy.kind == "node" and not strategy.soft:
        allowed = [info for info in allowed if info.node_id == strategy.node]
        if not allowed:
            return f"there is no node {strategy.node} (any more), and the affinity to it is hard"
    closest = max(allowed, key=lambda info: closeness(info.total, wanted))
    missing = {x: closest.total.get(x, 0) for x in wanted if closest.total.get(x, 0) < wanted[x]}
    return (
        f"{in_words(wanted)} fits no node of the cluster, not even an empty one: the largest "
        f"({closest.hostname or closest.ip}) has "
        + ", ".join(_one(name, amount) for name, amount in missing.items())
        + "; ask for less or add a larger node"
    )


def closeness(total: Mapping[str, int], wanted: Mapping[str, int]) -> float:
    """How close a node comes to a demand: the sum, over its resources, of the share it has."""
    return sum(
        min(1.0, total.get(name, 0) / amount) for name, amount in wanted.items() if amount > 0
    )
