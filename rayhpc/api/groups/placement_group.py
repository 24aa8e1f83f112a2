"""Placement groups: resources reserved together on one or several nodes.

Used by users through `util`, and by `strategies` and `placing`.  A group is identified by its id;
what the head says about it is cached per process while someone is interested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rayhpc.api.groups.placing import amounts, fixed_point
from rayhpc.api.objects.timeouts import seconds
from rayhpc.api.tasks import option_checks as checks
from rayhpc.api.tasks.given import encodable, wrong_type
from rayhpc.exceptions import TaskPlacementGroupRemoved
from rayhpc.runtime.process import current
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.context import running
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.errors import dump_system_error
from rayhpc.runtime.values.ids import PlacementGroupID
from rayhpc.runtime.values.references import ObjectRef, collect_refs
from rayhpc.wire.address import HEAD
from rayhpc.wire.messages import actors, cluster, listings

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class PlacementGroup:
    """A placement group.

    Args:
        id: its id.
        bundle_cache: its bundles, if known here.
    """

    def __init__(
        self, id: PlacementGroupID, bundle_cache: list[dict[str, float]] | None = None
    ) -> None:
        self.id = id
        self.bundle_cache = bundle_cache

    @staticmethod
    def empty() -> PlacementGroup:
        """The empty group, which stands for no group."""
        return PlacementGroup(PlacementGroupID.nil(), [])

    @property
    def is_empty(self) -> bool:
        """Whether this stands for no group."""
        return self.id.is_nil()

    def ready(self) -> ObjectRef[PlacementGroup]:
        """A reference that becomes ready once all bundles are reserved; its value is the group.

        If the group is removed first, `get` raises TaskPlacementGroupRemoved.
        """
        with collect_refs():
            value = serialization.to_inline(serialization.serialize(self))
        with inside:
            return current.client().groups.ready(
                self.id_here(), value, lambda state: dump_system_error(_removed(self, state))
            )

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Wait until all bundles are reserved.

        Args:
            timeout_seconds: the longest time to wait.

        Returns:
            False if the time ran out, or the group was removed.

        Raises:
            TypeError: the timeout is not a number; ValueError: it is NaN.
        """
        limit = seconds("timeout_seconds", timeout_seconds)
        with inside:
            return current.client().groups.wait(self.id_here(), limit)

    def id_here(self) -> bytes:
        """The id as bytes, for use in this process's cluster.

        Raises:
            RaySystemError: the group belongs to a cluster that this program has left.
        """
        group = self.id.binary()
        if not self.is_empty:
            current.refuse_foreign(group, repr(self))
        return group

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """Each bundle's resources."""
        if self.bundle_cache is None:
            self.bundle_cache = _bundles_of(current.client(), self.id_here())
        return self.bundle_cache

    @property
    def bundle_count(self) -> int:
        """The number of bundles."""
        return len(self.bundle_specs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id.hex()})"

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        self.id_here()
        return PlacementGroup, (self.id, self.bundle_cache)


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str = "PACK",
    name: str = "",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
) -> PlacementGroup:
    """Reserve bundles of resources, all or nothing; returns at once.

    Args:
        bundles: the resources of each bundle, such as `[{"CPU": 2}, {"CPU": 1, "GPU": 1}]`.
        strategy: PACK (few nodes), SPREAD (many), STRICT_PACK (one node), STRICT_SPREAD (a
            different node for each bundle).
        name: for `get_placement_group`; must be unused in this namespace.
        lifetime: "detached" outlives this program; with None the group ends with it.
        bundle_label_selector: for each bundle, the labels its node must have.

    Raises:
        ValueError: an unknown strategy or lifetime, or invalid bundles.
        TypeError: bundles that are not a list of dicts.
    """
    validate_placement_group(bundles, strategy, lifetime)
    reserved = _checked_bundles(bundles)
    if not isinstance(name, str):
        raise wrong_type("name", "text", name)
    encodable("name", name)
    selectors = _checked_selectors(bundle_label_selector, len(bundles))
    client = current.client()
    group = client.new_group_id()
    message = actors.CreateGroup(
        group=group,
        bundles=[fixed_point(x) for x in reserved],
        strategy=strategy,
        name=name,
        namespace=client.facts.namespace,
        detached=lifetime == "detached",
        creator=client.me,
        job=client.facts.job,
        selectors=selectors,
    )
    with inside:
        client.send(HEAD, message)
    return PlacementGroup(PlacementGroupID(group), reserved)


def validate_placement_group(
    bundles: list[dict[str, float]],
    strategy: str = "PACK",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
) -> bool:
    """Check the arguments of `placement_group`: returns True, or raises an error that explains.

    Args:
        bundles: as for `placement_group`, like the others.
        strategy: PACK, SPREAD, STRICT_PACK or STRICT_SPREAD.
        lifetime: None or "detached".
        bundle_label_selector: labels, per bundle or one dict for all.

    Raises:
        ValueError: an unknown strategy or lifetime, or invalid bundles.
        TypeError: bundles that are not a list of dicts.
    """
    _checked_bundles(bundles)
    _checked_selectors(bundle_label_selector, len(bundles))
    if strategy not in STRATEGIES:
        raise ValueError(
            f"Invalid placement group strategy {strategy!r}: it must be one of "
            f"{', '.join(STRATEGIES)}."
        )
    if lifetime not in (None, "detached"):
        raise ValueError(
            f"Placement group `lifetime` must be None or 'detached', not {lifetime!r}."
        )
    return True


def check_placement_group_index(placement_group: PlacementGroup, bundle_index: int) -> None:
    """Check the index of one of the group's bundles, or -1 for any.

    Raises:
        ValueError: there is no such bundle, or there is no group and the index is not -1.
    """
    if placement_group.is_empty:
        if bundle_index != -1:
            raise ValueError("If placement group is not set, the value of bundle index must be -1.")
    elif not -1 <= bundle_index < placement_group.bundle_count:
        raise ValueError(
            f"placement group bundle index {bundle_index} is invalid. Valid placement group "
            f"indexes: 0-{placement_group.bundle_count - 1}, or -1 for any."
        )


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Release a group's resources; its actors and tasks end.

    Raises:
        TypeError: not a placement group.
        RaySystemError: it belongs to a cluster that this program has left.
    """
    if not isinstance(placement_group, PlacementGroup):
        raise TypeError(f"Not a placement group: {placement_group!r}.")
    client = current.client()
    group = placement_group.id_here()
    with inside:
        client.send(HEAD, actors.RemoveGroup(group))


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """Look up a group by name in this namespace.

    Raises:
        ValueError: there is none.
    """
    if not placement_group_name:
        raise ValueError("Please supply a non-empty value to get_placement_group.")
    client = current.client()
    namespace = client.facts.namespace
    with inside:
        for row in _rows(client):
            here = row.name == placement_group_name and row.namespace == namespace
            if here and row.state != actors.GROUP_REMOVED:
                return PlacementGroup(PlacementGroupID(row.group), _amounts(row.bundles))
    raise ValueError(
        f"Failed to look up placement group with name: {placement_group_name} (namespace "
        f"{namespace!r}): it was never created or has been removed."
    )


def get_current_placement_group() -> PlacementGroup | None:
    """The group this task or actor runs in; None in a driver or outside any group."""
    context = running.get()
    if context is None or not context.grant.group:
        return None
    return PlacementGroup(PlacementGroupID(context.grant.group))


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """What the head knows about one group, or about all: id → row.

    A row has placement_group_id, name, bundles, bundles_to_node_id, strategy, state (PENDING,
    CREATED, RESCHEDULING or REMOVED) and stats.
    """
    client = current.client()
    with inside:
        rows = _rows(client)
        nodes: list[listings.NodeState] = client.ask_head(cluster.Nodes(), list[listings.NodeState])
    names = {x.info.number: x.info.node_id for x in nodes}
    table = {row.group.hex(): _table_row(row, names) for row in rows}
    if placement_group is None:
        return table
    found: dict[str, Any] = table.get(placement_group.id_here().hex(), {})
    return found


def _table_row(row: actors.GroupRow, names: dict[int, str]) -> dict[str, Any]:
    return {
        "placement_group_id": row.group.hex(),
        "name": row.name,
        "bundles": dict(enumerate(_amounts(row.bundles))),
        "bundles_to_node_id": {i: names.get(x, "") for i, x in enumerate(row.nodes)},
        "strategy": row.strategy,
        "state": row.state,
        "stats": stats_of(row),
    }


def stats_of(row: actors.GroupRow) -> dict[str, Any]:
    """Placement statistics of a group under Ray's names; `reason` says in words why it waits."""
    millis = row.took * 1000
    return {
        "scheduling_state": _scheduling_state(row),
        "scheduling_attempt": row.placings,
        "end_to_end_creation_latency_ms": millis,
        "reason": row.text,
    }


def _scheduling_state(row: actors.GroupRow) -> str:
    if row.state == actors.GROUP_CREATED:
        return "FINISHED"
    if row.state == actors.GROUP_REMOVED:
        return "REMOVED"
    if row.hopeless:
        return "INFEASIBLE"
    return "NO_RESOURCES" if row.placings else "QUEUED"


def _rows(client: Client) -> list[actors.GroupRow]:
    rows: list[actors.GroupRow] = client.ask_head(cluster.ListGroups(), list[actors.GroupRow])
    return rows


def _bundles_of(client: Client, group: bytes) -> list[dict[str, float]]:
    """The bundles of a group that was created in another process."""
    with inside:
        for row in _rows(client):
            if row.group == group:
                return _amounts(row.bundles)
    raise ValueError(f"There is no placement group {group.hex()} in this cluster (any more).")


def _amounts(bundles: list[dict[str, int]]) -> list[dict[str, float]]:
    return [amounts(x) for x in bundles]


def _removed(group: PlacementGroup, state: actors.GroupIs) -> TaskPlacementGroupRemoved:
    reason = f" ({state.text})" if state.text else ""
    return TaskPlacementGroupRemoved(f"The placement group {group.id.hex()} was removed{reason}.")


# -- checks ----------------------------------------------------------------------------------------
def _checked_bundles(bundles: Any) -> list[dict[str, float]]:
    if isinstance(bundles, (str, bytes)) or not isinstance(bundles, Sequence):
        raise TypeError(
            "Placement group bundles must be a list of dicts (resource → amount), not "
            f"{type(bundles).__name__}."
        )
    if not bundles:
        raise ValueError("Placement group bundles must not be an empty list.")
    return [_checked_bundle(i, x) for i, x in enumerate(bundles)]


def _checked_bundle(index: int, bundle: Any) -> dict[str, float]:
    if not isinstance(bundle, Mapping):
        raise TypeError(
            f"Bundle {index} must be a dict of resource → amount, not {type(bundle).__name__}."
        )
    kept = {}
    for name, value in bundle.items():
        if not isinstance(name, str):
            raise TypeError(f"Bundle {index}: a resource's name must be text, not {name!r}.")
        check = checks.gpus if name == "GPU" else checks.amount
        key = checks.resource_name(f"key in bundle {index}", name)
        kept[key] = check(f"bundle {index}: {name}", value)
    if not any(kept.values()):
        raise ValueError(
            "Bundles cannot be an empty dictionary or resources with only 0 values: bundle "
            f"{index} is {dict(bundle)}."
        )
    return kept


def _checked_selectors(given: Any, count: int) -> list[list[tuple[str, str]]]:
    if not given:
        return []
    if not isinstance(given, list) or len(given) not in (1, count):
        raise ValueError(
            f"bundle_label_selector must be a list of one dict per bundle ({count}), or of one "
            "for all."
        )
    each = given * count if len(given) == 1 else given
    return [list(checks.selector("bundle_label_selector", x).items()) for x in each]
