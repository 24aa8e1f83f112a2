"""What Azure refuses in a request, as far as anybody here makes one.

Used by `http_api` and `engine`.  Stricter than Azure where in doubt: what is not known here is
refused.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

# By the namespace: what the provider uses, and what Microsoft's own clients do.
VERSIONS = {
    "Microsoft.Compute": ("2024-07-01", "2026-04-01"),
    "Microsoft.Network": ("2024-05-01", "2026-03-01"),
    "Microsoft.Resources": ("2021-04-01", "2025-04-01"),
}
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}[a-zA-Z0-9_]|[a-zA-Z0-9]")
_SIZES = re.compile(r"Standard_[A-Z]+\d+[a-z]*(?:_v\d)?")
_PUBLISHERS = ("canonical", "microsoft-dsvm")
_MOST_TOLD = 87380
_LOCATIONS = ("westus2", "northeurope")

# A type, a list of one shape, or members: `!` after a name has it required, `*` is any name.
_ID = {"id!": str}
_TAGS = {"*": str}
_SUBNET = {"name!": str, "properties!": {"addressPrefix!": str, "networkSecurityGroup": _ID}}
_RULE = {
    "name!": str,
    "properties!": {
        "protocol!": str,
        "access!": str,
        "direction!": str,
        "priority!": int,
        "sourceAddressPrefix!": str,
        "sourcePortRange!": str,
        "destinationAddressPrefix!": str,
        "destinationPortRange!": str,
    },
}
_ADDRESS = {
    "name!": str,
    "sku": {"name!": str},
    "properties": {"deleteOption": str, "publicIPAllocationMethod": str},
}
_CONFIGURATION = {
    "name!": str,
    "properties!": {"subnet!": _ID, "publicIPAddressConfiguration": _ADDRESS},
}
_INTERFACE = {
    "name!": str,
    "properties!": {
        "primary": bool,
        "deleteOption": str,
        "enableAcceleratedNetworking": bool,
        "networkSecurityGroup": _ID,
        "ipConfigurations!": [_CONFIGURATION],
    },
}
_SYSTEM = {
    "computerName!": str,
    "adminUsername!": str,
    "customData": str,
    "linuxConfiguration!": {
        "disablePasswordAuthentication!": bool,
        "ssh!": {"publicKeys!": [{"path!": str, "keyData!": str}]},
    },
}
_STORAGE = {
    "imageReference!": {
        "publisher": str,
        "offer": str,
        "sku": str,
        "version": str,
        "id": str,
    },
    "osDisk!": {
        "createOption!": str,
        "deleteOption": str,
        "diskSizeGB": int,
        "managedDisk": {"storageAccountType!": str},
    },
}
BODIES: dict[str, dict[str, Any]] = {
    "resourceGroups": {"location!": str, "tags": _TAGS},
    "networkSecurityGroups": {
        "location!": str,
        "tags": _TAGS,
        "properties!": {"securityRules": [_RULE]},
    },
    "virtualNetworks": {
        "location!": str,
        "tags": _TAGS,
        "properties!": {"addressSpace!": {"addressPrefixes!": [str]}, "subnets": [_SUBNET]},
    },
    "virtualMachines": {
        "location!": str,
        "zones": [str],
        "tags": _TAGS,
        "identity": {"type!": str, "userAssignedIdentities!": {"*": {}}},
        "properties!": {
            "hardwareProfile!": {"vmSize!": str},
            "storageProfile!": _STORAGE,
            "osProfile!": _SYSTEM,
            "priority": str,
            "evictionPolicy": str,
            "networkProfile!": {
                "networkApiVersion!": str,
                "networkInterfaceConfigurations!": [_INTERFACE],
            },
            "billingProfile": {"maxPrice!": (int, float)},
            "diagnosticsProfile": {"bootDiagnostics!": {"enabled!": bool}},
        },
    },
    "tags": {"operation!": str, "properties!": {"tags!": _TAGS}},
}


class RefusedError(Exception):
    """HTTP's status, Azure's code, and its words; `retry_s`: when to come back."""

    def __init__(self, status: int, code: str, message: str, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_s = status, code, retry_s


def check_version(namespace: str, version: str | None) -> None:
    """Raises RefusedError."""
    if version is None:
        text = "The api-version query parameter (?api-version=) is required for all requests."
        raise RefusedError(400, "MissingApiVersionParameter", text)
    known = VERSIONS[namespace]
    if version not in known:
        text = f"No registered resource provider found for {namespace} and API version '{version}'"
        raise RefusedError(400, "NoRegisteredProviderFound", f"{text}. Try {', '.join(known)}.")


def check_body(kind: str, name: str, body: Mapping[str, Any]) -> None:
    """Raises RefusedError."""
    _check(body, BODIES[kind], kind)
    if not _NAME.fullmatch(name) or len(name) > 64:
        raise RefusedError(400, "InvalidResourceName", f"Resource name {name} is invalid.")
    if body.get("location", _LOCATIONS[0]) not in _LOCATIONS:
        text = f"The provided location '{body['location']}' is not available for resource type"
        raise RefusedError(400, "LocationNotAvailableForResourceType", text)
    if any(len(value) > 256 for value in (body.get("tags") or {}).values()):
        raise RefusedError(400, "InvalidTagValue", "Tag values have at most 256 characters.")
    if kind == "virtualMachines":
        _check_machine(body)


def _check_machine(body: Mapping[str, Any]) -> None:
    properties = body["properties"]
    size = properties["hardwareProfile"]["vmSize"]
    if not _SIZES.fullmatch(size):
        text = f"The value {size} provided for the VM size is not valid."
        raise RefusedError(400, "InvalidParameter", text)
    image = properties["storageProfile"]["imageReference"]
    if str(image.get("publisher", "")).lower() not in _PUBLISHERS or "sku" not in image:
        text = f"The platform image '{':'.join(map(str, image.values()))}' is not available."
        raise RefusedError(404, "PlatformImageNotFound", text)
    is_spot = properties.get("priority") == "Spot"
    if not is_spot and {"evictionPolicy", "billingProfile"} & set(properties):
        text = "Eviction policy and billing profile can be set only on Azure Spot Virtual Machines."
        raise RefusedError(400, "OperationNotAllowed", text)
    if any(zone not in ("1", "2", "3") for zone in body.get("zones") or ()):
        raise RefusedError(400, "InvalidAvailabilityZone", "The zone(s) are not supported.")
    _check_system(properties["osProfile"])


def _check_system(system: Mapping[str, Any]) -> None:
    told = system.get("customData", "")
    base64.b64decode(told, validate=True)
    if len(told) > _MOST_TOLD:
        text = "Custom data in OSProfile must be in Base64 encoding and with a maximum length of"
        raise RefusedError(400, "InvalidParameter", f"{text} {_MOST_TOLD} characters.")
    user = system["adminUsername"]
    if user in ("root", "admin"):
        text = "The Admin Username specified is not allowed."
        raise RefusedError(400, "InvalidParameter", text)
    for key in system["linuxConfiguration"]["ssh"]["publicKeys"]:
        home = f"/home/{user}/.ssh/authorized_keys"
        if key["path"] != home or not key["keyData"].startswith(("ssh-rsa ", "ssh-ed25519 ")):
            text = f"The value of parameter linuxConfiguration.ssh.publicKeys.path is not {home}."
            raise RefusedError(400, "InvalidParameter", text)


def _check(value: Any, shape: Any, where: str) -> None:
    if isinstance(shape, dict):
        _check_members(value, shape, where)
    elif isinstance(shape, list):
        _check_type(value, list, where)
        for each in value:
            _check(each, shape[0], where)
    else:
        _check_type(value, shape, where)


def _check_members(value: Any, shape: Mapping[str, Any], where: str) -> None:
    _check_type(value, dict, where)
    for name in shape:
        if name.endswith("!") and value.get(name[:-1]) is None:
            text = f"Required parameter '{where}.{name[:-1]}' is missing (null)."
            raise RefusedError(400, "InvalidParameter", text)
    for name, each in value.items():
        inner = shape.get(name, shape.get(f"{name}!", shape.get("*")))
        if inner is None:
            text = f"Could not find member '{name}' on object of type '{where}'."
            raise RefusedError(400, "InvalidRequestContent", text)
        _check(each, inner, f"{where}.{name}")


def _check_type(value: Any, kind: Any, where: str) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        text = f"The request content was invalid: '{where}' has a value of another type."
        raise RefusedError(400, "InvalidRequestContent", text)
