"""From Google's description of an instance to a machine.  Used by `provider`.  Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rayhpc.elastic.types import MachineState
from rayhpc.providers.cloud_names import LEASE
from rayhpc.providers.gcp.request import FACTS
from rayhpc.providers.machines import Rented, Watched, is_internal

_STATES = {
    "PROVISIONING": MachineState.PENDING,
    "STAGING": MachineState.PENDING,
    "RUNNING": MachineState.RUNNING,
    "REPAIRING": MachineState.RUNNING,
}


def facts(instance: Mapping[str, Any]) -> dict[str, str]:
    """What it was made for: cluster, machine, type, made_of, owner."""
    for item in (instance.get("metadata") or {}).get("items") or ():
        if item.get("key") == FACTS:
            found: dict[str, str] = json.loads(item["value"])
            return found
    return {}


def zone(instance: Mapping[str, Any]) -> str:
    """Its zone's name."""
    return str(instance["zone"]).rpartition("/")[2]


def state(instance: Mapping[str, Any]) -> MachineState:
    """One that is stopped has ended: only its disk is left to delete."""
    return _STATES.get(instance["status"], MachineState.ENDED)


def machine(instance: Mapping[str, Any], options: Mapping[str, object]) -> Rented:
    """A machine; `options` (`provider` of its file) say by which address it is logged in to."""
    told = facts(instance)
    name = told.get("machine", instance["name"])
    interface = (instance.get("networkInterfaces") or [{}])[0]
    private = interface.get("networkIP") or None
    outside = (interface.get("accessConfigs") or [{}])[0].get("natIP") or None
    now = state(instance)
    return Rented(
        name,
        told.get("type", ""),
        now,
        private,
        reason=reason(instance) if now is MachineState.ENDED else None,
        login=private if is_internal(options, name) else outside or private,
        identity=str(instance["id"]),
        made_of=told.get("made_of", ""),
        ends_at=_ends_at(instance),
    )


def reason(instance: Mapping[str, Any]) -> str:
    """Its state, and why, in Google's words where it has any."""
    words = instance.get("statusMessage")
    stopped = instance.get("lastStopTimestamp")
    if not words and stopped and state(instance) is MachineState.ENDED:
        words = f"since {stopped}: it has switched itself off, or Google has taken it back"
    return f"{instance['status']}: {words}" if words else str(instance["status"])


def watched(instance: Mapping[str, Any]) -> Watched:
    """For a list of all machines; nobody has looked after a stopped one since it stopped."""
    told = facts(instance)
    lease = str((instance.get("labels") or {}).get(LEASE, ""))
    until = float(lease) if lease.isdecimal() else None
    if state(instance) is MachineState.ENDED:
        until = _seconds(str(instance.get("lastStopTimestamp", "")))
    return Watched(
        told.get("cluster", ""),
        told.get("machine", instance["name"]),
        str(instance["id"]),
        told.get("owner", "somebody"),
        until,
    )


def _ends_at(instance: Mapping[str, Any]) -> float | None:
    """Google counts a longest run from the start, which is not before the machine was made."""
    told = instance.get("scheduling") or {}
    if "terminationTime" in told:
        return _seconds(str(told["terminationTime"]))
    made = _seconds(str(instance.get("creationTimestamp", "")))
    longest = (told.get("maxRunDuration") or {}).get("seconds")
    return None if made is None or longest is None else made + float(longest)


def _seconds(stamp: str) -> float | None:
    try:
        return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
