"""What Compute Engine refuses in the body of instances.insert, as far as anybody here writes one.

Used by `engine`.  Stricter than Google where in doubt: what is not known here is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_KEY, _LABEL_VALUE = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
_METADATA_KEY = re.compile(r"[a-zA-Z0-9-_]{1,128}")
_MOST_METADATA = 256 * 1024
_BODY = {
    "name": str,
    "machineType": str,
    "disks": list,
    "networkInterfaces": list,
    "scheduling": dict,
    "labels": dict,
    "metadata": dict,
    "tags": dict,
    "guestAccelerators": list,
    "serviceAccounts": list,
    "minCpuPlatform": str,
}
_DISK = ("boot", "autoDelete", "type", "mode", "source", "deviceName", "initializeParams")
_MADE = ("diskSizeGb", "sourceImage", "diskType", "sourceSnapshot", "diskName")
_INTERFACE = ("network", "subnetwork", "accessConfigs", "networkIP", "kind", "aliasIpRanges")
_SCHEDULING = (
    *("preemptible", "provisioningModel", "automaticRestart", "onHostMaintenance"),
    *("maxRunDuration", "instanceTerminationAction", "terminationTime"),
)
_TYPES = re.compile(r"(?:n1|n2|e2|c4a|t2a)-(?:standard|highmem)-\d+")
_IMAGES = re.compile(r"projects/[a-z-]+/global/images/(?:family/)?(?:ubuntu|common)-[a-z0-9-]+")
_LONGEST_S = 120 * 24 * 3600


class RefusedError(Exception):
    """HTTP's status, Google's reason, and its words."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


def check_body(body: Mapping[str, Any], zone: str) -> None:
    """Raises RefusedError."""
    for key, value in body.items():
        _known(key, _BODY, "instance")
        if not isinstance(value, _BODY[key]):
            raise RefusedError(400, "invalid", f"Invalid value at 'instance.{key}' ({value!r})")
    _check_name(str(body.get("name", "")))
    prefix, _, kind = str(body.get("machineType", "")).rpartition("/")
    if prefix != f"zones/{zone}/machineTypes" or not _TYPES.fullmatch(kind):
        raise RefusedError(
            *(400, "invalid", f"Invalid value for field 'resource.machineType': '{prefix}/{kind}'.")
        )
    _check_disks(body.get("disks") or [])
    _check_interfaces(body.get("networkInterfaces") or [])
    _check_scheduling(body.get("scheduling") or {})
    check_labels(body.get("labels") or {})
    _check_metadata(body.get("metadata") or {})


def check_labels(labels: Mapping[str, Any]) -> None:
    """Raises RefusedError."""
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(str(value)):
            text = f"Invalid value for field 'resource.labels': '{key}={value}'"
            raise RefusedError(400, "invalid", text)


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        text = f"Invalid value for field 'resource.name': '{name}'. Must be a match of regex"
        raise RefusedError(400, "invalid", text)


def _check_disks(disks: list[Mapping[str, Any]]) -> None:
    if sum(bool(each.get("boot")) for each in disks) != 1:
        raise RefusedError(400, "invalid", "Invalid value for field 'resource.disks': one boots")
    for disk in disks:
        made = disk.get("initializeParams") or {}
        for key in disk:
            _known(key, _DISK, "disks")
        for key in made:
            _known(key, _MADE, "initializeParams")
        image = str(made.get("sourceImage", ""))
        if not _IMAGES.fullmatch(image):
            raise RefusedError(404, "notFound", f"The resource '{image}' was not found")


def _check_interfaces(interfaces: list[Mapping[str, Any]]) -> None:
    if not interfaces:
        raise RefusedError(400, "required", "At least one network interface is required.")
    for each in interfaces:
        for key in each:
            _known(key, _INTERFACE, "networkInterfaces")


def _check_scheduling(given: Mapping[str, Any]) -> None:
    for key in given:
        _known(key, _SCHEDULING, "scheduling")
    spot = given.get("provisioningModel") == "SPOT"
    if bool(given.get("preemptible")) != spot:
        raise RefusedError(400, "invalid", "Spot machines are preemptible, and no others.")
    if spot and given.get("automaticRestart") is not False:
        raise RefusedError(400, "invalid", "Spot machines cannot be restarted automatically.")
    life = given.get("maxRunDuration")
    if life is not None and not 30 <= int(life["seconds"]) <= _LONGEST_S:
        raise RefusedError(400, "invalid", "maxRunDuration is from 30 seconds to 120 days.")
    if "instanceTerminationAction" in given and not (spot or life):
        text = "instanceTerminationAction needs a Spot machine or maxRunDuration."
        raise RefusedError(400, "invalid", text)


def _check_metadata(given: Mapping[str, Any]) -> None:
    items = given.get("items") or []
    keys = [each["key"] for each in items]
    if len(set(keys)) != len(keys) or not all(map(_METADATA_KEY.fullmatch, keys)):
        raise RefusedError(400, "invalid", "Invalid value for field 'resource.metadata.items'")
    if any(len(str(each["value"])) > _MOST_METADATA for each in items):
        raise RefusedError(413, "uploadTooLarge", "metadata values have at most 256 KB")


def _known(key: str, keys: Any, where: str) -> None:
    if key not in keys:
        text = f"Invalid JSON payload received. Unknown name \"{key}\" at '{where}'"
        raise RefusedError(400, "invalid", text)
