"""The arguments of `init`: which there are, which have an effect, what each may be.

Used by `session`.  Libraries written for Ray pass many that concern Ray's own processes: those are
taken and ignored, as is every name that starts with an underscore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayhpc.api.tasks import option_checks as checks
from rayhpc.api.tasks.given import encodable, wrong_type

# Of Ray's processes, dashboard and logs; nothing here depends on them.
WITHOUT_EFFECT = (
    "configure_logging",
    "dashboard_host",
    "dashboard_port",
    "enable_resource_isolation",
    "include_dashboard",
    "include_log_monitor",
    "local_mode",
    "logging_config",
    "node_name",
    "system_reserved_cpu",
    "system_reserved_memory",
)
# What sizes a cluster that is started; one that exists has its size.
SIZES = ("labels", "memory", "num_cpus", "num_gpus", "object_store_memory", "resources")


def check_unknown(given: Mapping[str, Any], known: list[str]) -> None:
    """Accept private and ineffective names.

    Raises:
        RuntimeError: a name that does not exist, with the nearest right one.
    """
    for name in given:
        if name.startswith("_") or name in WITHOUT_EFFECT:
            continue
        import difflib

        near = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise RuntimeError(
            f"Unknown keyword argument {name!r} of init().{hint} There are: {', '.join(known)}."
        )


def sizes_of(
    *,
    num_cpus: Any,
    num_gpus: Any,
    memory: Any,
    object_store_memory: Any,
    resources: Any,
    labels: Any,
) -> dict[str, Any]:
    """What sizes the cluster, checked; only what was given.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: an impossible value.
    """
    whole = checks.whole_amount
    given = {
        "num_cpus": None if num_cpus is None else whole("num_cpus", num_cpus),
        "num_gpus": None if num_gpus is None else whole("num_gpus", num_gpus),
        "memory": None if memory is None else int(checks.amount("memory", memory)),
        "object_store_memory": None
        if object_store_memory is None
        else int(checks.amount("object_store_memory", object_store_memory)),
        "resources": None if resources is None else checks.resources("resources", resources),
        "labels": None if labels is None else _labels(labels),
    }
    return {name: value for name, value in given.items() if value is not None}


def _labels(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping) or not all(
        isinstance(k, str) and isinstance(v, str) for k, v in given.items()
    ):
        raise wrong_type("labels", "a dict of text → text", given)
    for key, value in given.items():
        encodable("labels", key + value)
    return dict(given)


def check_namespace(given: Any) -> None:
    """Accept a namespace.

    Raises:
        TypeError: not text.
        ValueError: empty.
    """
    if given is not None:
        checks.text("namespace", given)
