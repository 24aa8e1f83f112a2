"""From EC2's description of an instance to a machine.  Used by `provider`.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayhpc.elastic.types import MachineState
from rayhpc.providers.aws.request import of_tags
from rayhpc.providers.cloud_names import CLUSTER, LEASE, MACHINE, MADE_OF, OWNER, TYPE
from rayhpc.providers.machines import Rented, Watched, is_internal

_STATES = {"pending": MachineState.PENDING, "running": MachineState.RUNNING}


def machine(instance: Mapping[str, Any], options: Mapping[str, object]) -> Rented:
    """A machine; `options` (`provider` of its file) say by which address it is logged in to."""
    tags = of_tags(instance.get("Tags"))
    name = tags.get(MACHINE, instance["InstanceId"])
    state = _STATES.get(instance["State"]["Name"], MachineState.ENDED)
    private = instance.get("PrivateIpAddress") or None
    public = instance.get("PublicIpAddress") or None
    return Rented(
        name,
        tags.get(TYPE, ""),
        state,
        private,
        reason=reason(instance) if state is MachineState.ENDED else None,
        login=private if is_internal(options, name) else public or private,
        identity=instance["InstanceId"],
        made_of=tags.get(MADE_OF, ""),
    )


def reason(instance: Mapping[str, Any]) -> str:
    """Why it is in its state, in EC2's words."""
    said = instance.get("StateReason") or {}
    words = said.get("Message") or instance.get("StateTransitionReason") or "no reason given"
    return f"{instance['State']['Name']}: {words}"


def is_there(instance: Mapping[str, Any]) -> bool:
    """Whether it still costs something, or will."""
    return instance["State"]["Name"] in ("pending", "running", "stopping", "stopped")


def watched(instance: Mapping[str, Any]) -> Watched:
    """For a list of all machines."""
    tags = of_tags(instance.get("Tags"))
    told = tags.get(LEASE, "")
    return Watched(
        tags.get(CLUSTER, ""),
        tags.get(MACHINE, ""),
        instance["InstanceId"],
        tags.get(OWNER, "somebody"),
        float(told) if told.isdecimal() else None,
    )
