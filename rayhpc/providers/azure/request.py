"""From a node type to the body of a virtual machine.  Used by `provider`.  Pure.

`node_config` is Ray's: `azure_arm_parameters` has the words of its template.  What is made for a
machine (its disk, network interface and address) is part of the machine's own body, and goes with
it.
"""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import NodeType
from rayhpc.providers.azure.api import ENDPOINT
from rayhpc.providers.azure.own_end import delete_itself
from rayhpc.providers.cloud_init import user_data
from rayhpc.providers.cloud_names import CLUSTER, MACHINE, MADE_OF, OWNER, TYPE, name_at
from rayhpc.providers.machines import print_of
from rayhpc.providers.watch import SWITCH_OFF
from rayhpc.providers.zones import zones_of

PARAMETERS, TAGS = "azure_arm_parameters", "tags"
_IMAGE = ("imagePublisher", "imageOffer", "imageSku", "imageVersion")
_KNOWN = (
    *("vmSize", *_IMAGE, "imageId", "priority", "evictionPolicy", "billingProfile"),
    *("osDiskSize", "osDiskSizeGB", "osDiskType", "vmTags", "subnet", "nsg", "provisionPublicIp"),
    *("availability_zone", "enableAcceleratedNetworking", "customData"),
)
# Words of Ray's in the place of a zone: Azure is not told one.
_NO_ZONE = ("auto", "none", "null")
# Of Ray's template, but rayhpc's own to decide.
_OURS = ("vmName", "adminUsername", "publicKey", "vmCount", "msi")
# Ray's own default.
_DEFAULT_SIZE = "Standard_D2s_v3"
_ARM = re.compile(r"Standard_[A-Z]+\d+[a-z]*p[a-z]*_")
_UBUNTU = {
    "publisher": "Canonical",
    "offer": "ubuntu-24_04-lts",
    "version": "latest",
}
_DISK = "StandardSSD_LRS"
# Azure's own limit, before base64.
_MOST_BYTES = 65535
# With an identity of the longest name, so that `check` is never too mild.
_LONGEST = delete_itself("x" * 400)
# The version in which the interface is described within the machine.
_INTERFACE_API = "2022-11-01"


@dataclass(frozen=True)
class Try:
    """One place to ask: a size, and a zone (empty: Azure chooses)."""

    kind: str
    zone: str = ""

    @property
    def where(self) -> str:
        """In words."""
        return f"zone {self.zone}" if self.zone else "any zone"


@dataclass(frozen=True)
class Surroundings:
    """What a machine is put into, and whose it is.

    Attributes:
        location: Azure's region.
        subnet, group: ids of the cluster's own subnet and rules; empty: the node type has its own.
        public_key, user: who may log in, as whom.
        owner: who has asked for it.
        internal: it gets no address outside.
        identity: id of the managed identity with which it deletes itself; empty: it has none.
        endpoint: Azure's API.
        public_keys: other keys that it lets in.
    """

    location: str
    subnet: str
    group: str
    public_key: str
    user: str
    owner: str
    internal: bool
    identity: str = ""
    endpoint: str = ENDPOINT
    public_keys: Sequence[str] = ()


def check(kind: NodeType) -> None:
    """Refuse what a node type may not say.  Raises OptionError."""
    for key in kind.options:
        if key not in (PARAMETERS, TAGS):
            known = f"only {PARAMETERS} and {TAGS}"
            text = f"there is no {key!r} in node_config of provider azure, {known}"
            raise OptionError(f"node type {kind.name}: {text}")
    for key in words_of(kind):
        if key in _OURS:
            raise OptionError(f"node type {kind.name}: {key} is set by rayhpc itself; leave it out")
        if key not in _KNOWN:
            near = difflib.get_close_matches(key, _KNOWN, 1)
            meant = f"; did you mean {near[0]!r}?" if near else f", only {', '.join(_KNOWN)}"
            raise OptionError(f"node type {kind.name}: there is no {key!r} in {PARAMETERS}{meant}")
    if len(_told("", kind, _LONGEST).encode()) > _MOST_BYTES:
        text = f"customData is longer than Azure's {_MOST_BYTES} bytes"
        raise OptionError(f"node type {kind.name}: {text}")


def words_of(kind: NodeType) -> dict[str, Any]:
    """The words of Ray's template that a node type gives."""
    told = kind.options.get(PARAMETERS)
    return dict(told) if isinstance(told, Mapping) else {}


def tries(kind: NodeType, zones: Sequence[str]) -> Iterator[Try]:
    """Where to ask, in turn: each size in each zone; `zones` are for types that name none."""
    words = words_of(kind)
    told = words.get("vmSize") or _DEFAULT_SIZE
    asked = zones_of(words) if words.get("availability_zone") else zones
    named = [zone for zone in asked if zone.lower() not in _NO_ZONE]
    for size in told if isinstance(told, (list, tuple)) else [told]:
        for zone in named or [""]:
            yield Try(str(size), zone)


def body(
    cluster: str, kind: NodeType, machine: str, at: Try, around: Surroundings
) -> dict[str, Any]:
    """The body of one machine.

    Args:
        cluster, kind: whose, and of which type.
        machine: its name.
        at: where, and how large.
        around: the rest.
    """
    words = words_of(kind)
    properties: dict[str, Any] = {
        "hardwareProfile": {"vmSize": at.kind},
        "storageProfile": {"imageReference": _image(words, at.kind), "osDisk": _disk(words)},
        "osProfile": _system(cluster, kind, machine, around),
        "networkProfile": {
            "networkApiVersion": _INTERFACE_API,
            "networkInterfaceConfigurations": [_interface(words, around)],
        },
        # Its console is kept, for people who look at it in the portal.
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
    }
    if "priority" in words:
        properties["priority"] = words["priority"]
    if words.get("priority") == "Spot":
        # One that is only stopped would have its disk and address on the bill.
        properties["evictionPolicy"] = words.get("evictionPolicy") or "Delete"
        properties["billingProfile"] = words.get("billingProfile") or {"maxPrice": -1}
    identity = {"type": "UserAssigned", "userAssignedIdentities": {around.identity: {}}}
    return {
        "location": around.location,
        **({"zones": [at.zone]} if at.zone else {}),
        **({"identity": identity} if around.identity else {}),
        "tags": {**_users_tags(kind), **_tags(cluster, kind, machine, around.owner)},
        "properties": properties,
    }


def _tags(cluster: str, kind: NodeType, machine: str, owner: str) -> dict[str, str]:
    found = {CLUSTER: cluster, MACHINE: machine, TYPE: kind.name, OWNER: owner}
    return {**found, MADE_OF: print_of(kind)}


def _users_tags(kind: NodeType) -> dict[str, str]:
    told = kind.options.get(TAGS)
    return {**(told if isinstance(told, Mapping) else {}), **(words_of(kind).get("vmTags") or {})}


def _image(words: Mapping[str, Any], size: str) -> dict[str, Any]:
    if "imageId" in words:
        return {"id": words["imageId"]}
    given = {key[5:].lower(): str(words[key]) for key in _IMAGE if key in words}
    if given:
        return {"version": "latest", **given}
    return {**_UBUNTU, "sku": "server-arm64" if _ARM.match(size) else "server"}


def _disk(words: Mapping[str, Any]) -> dict[str, Any]:
    disk: dict[str, Any] = {
        "createOption": "FromImage",
        "deleteOption": "Delete",
        "managedDisk": {"storageAccountType": words.get("osDiskType") or _DISK},
    }
    size = words.get("osDiskSizeGB", words.get("osDiskSize"))
    if size is not None:
        disk["diskSizeGB"] = size
    return disk


def _system(cluster: str, kind: NodeType, machine: str, around: Surroundings) -> dict[str, Any]:
    end = delete_itself(around.identity, around.endpoint) if around.identity else SWITCH_OFF
    path = f"/home/{around.user}/.ssh/authorized_keys"
    keys = (around.public_key, *around.public_keys)
    return {
        "computerName": name_at(cluster, machine),
        "adminUsername": around.user,
        "customData": base64.b64encode(_told(cluster, kind, end).encode()).decode(),
        "linuxConfiguration": {
            "disablePasswordAuthentication": True,
            "ssh": {"publicKeys": [{"path": path, "keyData": each} for each in keys]},
        },
    }


def _told(cluster: str, kind: NodeType, end: str) -> str:
    users = words_of(kind).get("customData")
    return user_data(cluster, None if users is None else str(users), end)


def _interface(words: Mapping[str, Any], around: Surroundings) -> dict[str, Any]:
    inside: dict[str, Any] = {"subnet": {"id": words.get("subnet") or around.subnet}}
    if not around.internal and words.get("provisionPublicIp", True):
        inside["publicIPAddressConfiguration"] = {
            "name": "outside",
            "sku": {"name": "Standard"},
            "properties": {"deleteOption": "Delete", "publicIPAllocationMethod": "Static"},
        }
    properties: dict[str, Any] = {
        "primary": True,
        "deleteOption": "Delete",
        "ipConfigurations": [{"name": "inside", "properties": inside}],
    }
    if "enableAcceleratedNetworking" in words:
        properties["enableAcceleratedNetworking"] = words["enableAcceleratedNetworking"]
    group = words.get("nsg") or around.group
    if group:
        properties["networkSecurityGroup"] = {"id": group}
    return {"name": "interface", "properties": properties}
