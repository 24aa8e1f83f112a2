"""The arguments of `init`: which exist, which have an effect, which values are valid.

Used by `session`.  Libraries written for Ray pass many that concern Ray's own processes; those
are accepted and ignored, as is every name that starts with an underscore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayhpc.api.tasks import option_checks as checks
from rayhpc.api.tasks.given import encodable, wrong_type

# They concern Ray's own processes, dashboard and logs; nothing here depends on them.
WITHOUT_EFFECT = (
    "configure_logging",
    "dashboard_host",
    "dashboard_port",
    "enable_resource_isolation",
    "include_dashboard",
    "include_log_monitor",
    "local_mode",
    "node_name",
    "system_reserved_cpu",
    "system_reserved_memory",
)
# They size a cluster that is started; an existing one keeps its size.
SIZES = ("labels", "memory", "num_cpus", "num_gpus", "object_store_memory", "resources")


def check_unknown(given: Mapping[str, Any], known: list[str]) -> None:
    """Accept private and ineffective names, reject unknown ones.

    Raises:
        RuntimeError: an unknown name; the text suggests the closest one.
    """
    for name in given:
        if name.startswith("_") or name in WITHOUT_EFFECT:
            continue
        import difflib

        near = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise RuntimeError(
            f"Unknown keyword argument {name!r} of init().{hint} Valid names: {', '.join(known)}."
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
    """The checked arguments that size the cluster; only those given.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: an invalid value.
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
    """Check a namespace.

    Raises:
        TypeError: not text.
        ValueError: empty.
    """
    if given is not None:
        checks.text("namespace", given)
