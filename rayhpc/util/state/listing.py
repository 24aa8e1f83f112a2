"""`list_*`, `get_*` and `summarize_*`: what is in the cluster, filtered and counted.

Used by programs through `rayhpc.util.state`, and by the command line.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import rayhpc
from rayhpc.api.state import schema
from rayhpc.api.state.sources import Sources

logger = logging.getLogger("rayhpc")

DEFAULT_LIMIT = 100
DEFAULT_RPC_TIMEOUT = 30
Filter = tuple[str, str, Any]
Row = TypeVar("Row", bound=schema.StateSchema)


def list_nodes(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[schema.NodeState]:
    """The nodes, dead ones included.

    Args:
        address: the cluster, if this process is not connected to one.
        filters: (column, "=" or "!=" or "<" or ">" …, value), all of which must hold.
        limit: the maximum number of rows.
        timeout: seconds to wait for an answer.
        detail, raise_on_missing_output: exist in Ray; rows are always complete.

    Raises:
        ValueError: a filter names no column, or an unknown comparison.
        GetTimeoutError: no answer in time.
    """
    rows = sources(address, timeout).nodes()
    return _chosen(schema.NodeState, rows, filters, limit)


def list_actors(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[schema.ActorState]:
    """The actors, including dead ones still known to the head; arguments as for `list_nodes`."""
    rows = sources(address, timeout).actors()
    return _chosen(schema.ActorState, rows, filters, limit)


def list_placement_groups(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[schema.PlacementGroupState]:
    """The placement groups; arguments as for `list_nodes`."""
    rows = sources(address, timeout).placement_groups()
    return _chosen(schema.PlacementGroupState, rows, filters, limit)


def list_jobs(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[schema.JobState]:
    """The jobs, one per driver; arguments as for `list_nodes`."""
    rows = sources(address, timeout).jobs()
    return _chosen(schema.JobState, rows, filters, limit)


def list_workers(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[schema.WorkerState]:
    """The drivers and workers of all living nodes; arguments as for `list_nodes`."""
    rows = sources(address, timeout).workers()
    return _chosen(schema.WorkerState, rows, filters, limit)


def list_tasks(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[schema.TaskState]:
    """Waiting, running and finished tasks; arguments as for `list_nodes`.

    Without filters at least the last `limit` of each node are examined, otherwise all that are
    known: each node keeps its most recent ones, as for `rayhpc.timeline`, and a warning says how
    many are missing.
    """
    rows = sources(address, timeout).tasks(0 if filters else max(0, limit) + 1)
    return _chosen(schema.TaskState, rows, filters, limit)


def list_objects(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[schema.ObjectState]:
    """The objects, one row per process or store that holds one; arguments as for `list_nodes`."""
    rows = sources(address, timeout).objects()
    return _chosen(schema.ObjectState, rows, filters, limit)


def get_node(
    id: str,
    address: str | None = None,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> schema.NodeState | None:
    """The node with this id; None: there is none."""
    return _first(sources(address, timeout).nodes(), "node_id", id)


def get_actor(
    id: str,
    address: str | None = None,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> schema.ActorState | None:
    """The actor with this id; None: there is none."""
    return _first(sources(address, timeout).actors(), "actor_id", id)


def get_placement_group(
    id: str,
    address: str | None = None,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> schema.PlacementGroupState | None:
    """The placement group with this id; None: there is none."""
    rows = sources(address, timeout).placement_groups()
    return _first(rows, "placement_group_id", id)


def get_job(
    id: str,
    address: str | None = None,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> schema.JobState | None:
    """The job with this id; None: there is none."""
    return _first(sources(address, timeout).jobs(), "job_id", id)


def get_worker(
    id: str,
    address: str | None = None,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> schema.WorkerState | None:
    """The process with this id; None: there is none."""
    return _first(sources(address, timeout).workers(), "worker_id", id)


def get_task(
    id: Any,
    address: str | None = None,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> schema.TaskState | list[schema.TaskState] | None:
    """The task with this id, or that creates this reference.

    Returns:
        The row; a list of them if it has several attempts; None: there is none.
    """
    wanted = id if isinstance(id, str) else id.task_id().hex()
    rows = [x for x in sources(address, timeout).tasks() if x.task_id == wanted]
    return (rows[0] if len(rows) == 1 else rows) if rows else None


def get_objects(
    id: str,
    address: str | None = None,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> list[schema.ObjectState]:
    """The holders of the object with this id."""
    return [x for x in sources(address, timeout).objects() if x.object_id == id]


def summarize_tasks(
    address: str | None = None,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """The number of tasks, by function and state."""
    rows = list(sources(address, timeout).tasks())
    summary: dict[str, Any] = {}
    for name, group in _grouped(rows, "func_or_class_name"):
        summary[name] = {
            "func_or_class_name": name,
            "type": group[0].type,
            "state_counts": dict(Counter(x.state for x in group)),
        }
    types = Counter(x.type for x in rows)
    return {
        "cluster": {
            "summary": summary,
            "summary_by": "func_name",
            "total_tasks": types["NORMAL_TASK"],
            "total_actor_tasks": types["ACTOR_TASK"],
            "total_actor_scheduled": types["ACTOR_CREATION_TASK"],
        }
    }


def summarize_actors(
    address: str | None = None,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """The number of actors, by class and state."""
    rows = list(sources(address, timeout).actors())
    summary = {
        name: {"class_name": name, "state_counts": dict(Counter(x.state for x in group))}
        for name, group in _grouped(rows, "class_name")
    }
    return {"cluster": {"summary": summary, "summary_by": "class", "total_actors": len(rows)}}


def summarize_objects(
    address: str | None = None,
    timeout: float = DEFAULT_RPC_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """The number and size of objects, by where they were created."""
    rows = list(sources(address, timeout).objects())
    summary = {
        site: {
            "total_objects": len(group),
            "total_size_mb": sum(x.object_size for x in group) / 2**20,
            "total_num_workers": len({x.pid for x in group}),
            "total_num_nodes": len({x.node_id for x in group}),
            "task_state_counts": dict(Counter(x.task_status for x in group)),
            "ref_type_counts": dict(Counter(x.reference_type for x in group)),
        }
        for site, group in _grouped(rows, "call_site")
    }
    return {
        "cluster": {
            "summary": summary,
            "summary_by": "callsite",
            "callsite_enabled": any(x.call_site for x in rows),
            "total_objects": len(rows),
            "total_size_mb": sum(x.object_size for x in rows) / 2**20,
        }
    }


# -- details -------------------------------------------------------------------------------------
def sources(address: str | None, timeout: float) -> Sources:
    """Where the rows of a cluster come from, which is joined first if that is needed."""
    if address is not None and not rayhpc.is_initialized():
        rayhpc.init(address=address)
    return Sources(timeout)


def _chosen(
    kind: type[Row], rows: Iterable[Row], filters: Sequence[Filter] | None, limit: int
) -> list[Row]:
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}.")
    tests = [_test(kind, x) for x in filters or ()]
    found = list(itertools.islice((x for x in rows if all(t(x) for t in tests)), limit + 1))
    if len(found) > limit:
        logger.warning("only the first %d rows are shown; raise the limit to see more", limit)
    return found[:limit]


def _test(kind: type[Row], condition: Filter) -> Any:
    try:
        column, operator, value = condition
    except (TypeError, ValueError):
        raise ValueError(f'A filter is (column, "=" or "!=", value), not {condition!r}.') from None
    column = column.lower() if isinstance(column, str) else column
    if column not in kind.columns():
        raise ValueError(
            f"{kind.__name__} has no column {column!r}; valid ones: "
            f"{', '.join(sorted(kind.columns()))}."
        )
    compare = _COMPARE.get(operator)
    if compare is None:
        raise ValueError(f"A filter compares with one of {', '.join(_COMPARE)}, not {operator!r}.")

    def holds(row: Row) -> bool:
        have = row[column]
        return bool(compare(_folded(have), _folded(_as_type(value, have))))

    return holds


_COMPARE: dict[str, Any] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a is not None and a < b,
    "<=": lambda a, b: a is not None and a <= b,
    ">": lambda a, b: a is not None and a > b,
    ">=": lambda a, b: a is not None and a >= b,
}


def _as_type(value: Any, like: Any) -> Any:
    """A filter's text converted to the column's own type."""
    if isinstance(value, str) and isinstance(like, bool):
        return value.lower() in ("true", "1", "yes")
    if isinstance(value, str) and isinstance(like, (int, float)):
        try:
            return type(like)(value)
        except ValueError:
            return value
    return value


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _first(rows: Iterable[Row], column: str, wanted: str) -> Row | None:
    return next((x for x in rows if x[column] == wanted), None)


def _grouped(rows: list[Row], column: str) -> list[tuple[str, list[Any]]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return sorted(found.items())
