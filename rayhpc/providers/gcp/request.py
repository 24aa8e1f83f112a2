"""From a node type to the body of instances.insert.  Used by `provider`.  Pure.

Everything in `node_config` goes to Google as it stands, except what is decided here: what makes a
machine end, what it is found by, and who may log in.  As in Ray, names of machine types need no
zone, and `scheduling` may be a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import NodeType
from rayhpc.providers.cloud_names import CLUSTER, OWNER, TYPE, name_at, short_hash
from rayhpc.providers.gcp.startup import startup_script
from rayhpc.providers.machines import print_of

# In a machine's metadata: its names as they are, where labels have fewer letters.
FACTS = "rayhpc"
# Ray's own defaults.
_DEFAULT_TYPE = "n1-standard-2"
# A machine is deleted by Google after so long, whatever happens to everybody else.
MOST_S = 30 * 24 * 3600
_IMAGE = "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-{}"
_ARM = re.compile(r"(?:t2a|c4a|n4a|a4x)-")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_DISK_GB = 50
# Ray's word for a key that the project knows: ours are the machine's own.  The other is no part
# of the body.
_NOT_SENT = ("KeyName", "sourceInstanceTemplate")


@dataclass(frozen=True)
class Try:
    """One place to ask: a machine type, and a zone."""

    kind: str
    where: str


@dataclass(frozen=True)
class Surroundings:
    """Who may log in to a machine (as `user`, with the public key), and whose it is.

    `internal`: it gets no address outside.  `public_keys`: other keys that it lets in.
    """

    public_key: str
    user: str
    owner: str
    internal: bool
    public_keys: Sequence[str] = ()


def check(kind: NodeType) -> None:
    """Refuse what a node type may not say.  Raises OptionError."""
    options = kind.options
    if "machineType" not in options and "acceleratorType" in options:
        text = f"node type {kind.name}: TPUs (acceleratorType) are not served, only machineType"
        raise OptionError(text)
    if "name" in options:
        raise OptionError(f"node type {kind.name}: name is set by rayhpc itself; leave it out")
    if _told_scheduling(kind).get("instanceTerminationAction", "DELETE") != "DELETE":
        text = "instanceTerminationAction is DELETE, so that nothing stays on the bill"
        raise OptionError(f"node type {kind.name}: {text}; leave it out")


def label(text: str) -> str:
    """A text as a label's value; what has other letters than those is told apart by a hash."""
    if _LABEL.fullmatch(text):
        return text
    return f"{re.sub(r'[^a-z0-9_-]+', '-', text.lower())[:54]}-{short_hash(text)}"


def machine_type(kind: NodeType) -> str:
    """The machine type, without its zone."""
    return str(kind.options.get("machineType") or _DEFAULT_TYPE).rpartition("/")[2]


def body(
    cluster: str, kind: NodeType, machine: str, zone: str, around: Surroundings
) -> dict[str, Any]:
    """The body of instances.insert for one machine.

    Args:
        cluster, kind: whose, and of which type.
        machine: its name.
        zone: where.
        around: the rest.
    """
    given: dict[str, Any] = {k: v for k, v in kind.options.items() if k not in _NOT_SENT}
    of_template = "sourceInstanceTemplate" in kind.options
    given["name"] = name_at(cluster, machine)
    if "machineType" in given or not of_template:
        given["machineType"] = _in_zone(
            zone, "machineTypes", given.get("machineType", _DEFAULT_TYPE)
        )
    if "disks" in given or not of_template:
        given["disks"] = _disks(given.get("disks"), machine_type(kind), zone)
    if not of_template:
        given.setdefault("networkInterfaces", [_interface(around.internal)])
    if "guestAccelerators" in given:
        given["guestAccelerators"] = [
            {**each, "acceleratorType": _in_zone(zone, "acceleratorTypes", each["acceleratorType"])}
            for each in given["guestAccelerators"]
        ]
    given["scheduling"] = _scheduling(kind)
    given["labels"] = {
        **(given.get("labels") or {}),
        CLUSTER: label(cluster),
        TYPE: label(kind.name),
        OWNER: label(around.owner),
    }
    facts = {"cluster": cluster, "machine": machine, "type": kind.name, "made_of": print_of(kind)}
    given["metadata"] = _metadata(given.get("metadata"), cluster, around, facts)
    return given


def _told_scheduling(kind: NodeType) -> dict[str, Any]:
    told: Any = kind.options.get("scheduling") or {}
    given: dict[str, Any] = {}
    for each in told if isinstance(told, list) else [told]:
        given.update(each)
    return given


def _scheduling(kind: NodeType) -> dict[str, Any]:
    given = _told_scheduling(kind)
    if given.get("preemptible") or given.get("provisioningModel") == "SPOT":
        # Preemptible machines are what Spot ones were before; they do not know of a longest life.
        given |= {"preemptible": True, "provisioningModel": "SPOT"}
        given |= {"automaticRestart": False, "onHostMaintenance": "TERMINATE"}
    if "terminationTime" not in given:
        given.setdefault("maxRunDuration", {"seconds": str(MOST_S)})
    given["instanceTerminationAction"] = "DELETE"
    return given


def _disks(told: object, kind: str, zone: str) -> list[dict[str, Any]]:
    """Disks that are made for a machine go with it; one without an image boots Ubuntu."""
    users = (
        told
        if isinstance(told, list)
        else [{"boot": True, "initializeParams": {"diskSizeGb": str(_DISK_GB)}}]
    )
    found = []
    for each in users:
        disk = dict(each)
        if "source" not in disk:
            disk.setdefault("autoDelete", True)
            made = dict(disk.get("initializeParams") or {})
            if disk.get("boot") and not {"sourceImage", "sourceSnapshot"} & set(made):
                made["sourceImage"] = _IMAGE.format("arm64" if _ARM.match(kind) else "amd64")
            if "diskType" in made:
                made["diskType"] = _in_zone(zone, "diskTypes", made["diskType"])
            disk["initializeParams"] = made
        found.append(disk)
    return found


def _interface(internal: bool) -> dict[str, Any]:
    outside = [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}]
    return {
        "network": "global/networks/default",
        **({} if internal else {"accessConfigs": outside}),
    }


def _metadata(
    told: object, cluster: str, around: Surroundings, facts: Mapping[str, str]
) -> dict[str, Any]:
    users = told.get("items") or [] if isinstance(told, Mapping) else []
    items = {str(each["key"]): str(each["value"]) for each in users}
    ours = [f"{around.user}:{key}" for key in (around.public_key, *around.public_keys)]
    items["ssh-keys"] = "\n".join(filter(None, [items.get("ssh-keys", "").strip(), *ours]))
    # With OS Login a machine would not look at its own keys.
    items["enable-oslogin"] = "FALSE"
    items["startup-script"] = startup_script(cluster, items.get("startup-script"))
    items[FACTS] = json.dumps({**facts, "owner": around.owner})
    return {"items": [{"key": key, "value": value} for key, value in items.items()]}


def _in_zone(zone: str, collection: str, name: object) -> str:
    text = str(name)
    return text if "/" in text else f"zones/{zone}/{collection}/{text}"
