"""What a cluster has at Azure beside machines: a network, its rules, perhaps the resource group.

Used by `provider`.  All bear the cluster's tag, by which they are known and removed; a resource
group is removed only if it was made for this cluster and nothing of anybody else's is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayhpc.providers.azure.answers import is_gone
from rayhpc.providers.azure.api import NETWORK, RESOURCES, Arm
from rayhpc.providers.cloud_names import CLUSTER, name_at
from rayhpc.providers.rest import ApiError

_SUBNET = "machines"
_RANGE = "10.84.0.0/16"
# How long a network may take to be made; it takes a few seconds.
_MADE_S = 120.0
# After so long it is said what is still there; the caller asks again.
_DELETED_S = 10.0
_IN_USE = (
    *("InUseSubnetCannotBeDeleted", "InUseNetworkSecurityGroupCannotBeDeleted"),
    *("VirtualNetworkInUse", "NetworkSecurityGroupInUse", "AnotherOperationInProgress"),
)
_RIGHT = "Microsoft.Network"
_GROUP_RIGHT = "Microsoft.Resources/subscriptions/resourceGroups"


class Network:
    """One cluster's.

    Args:
        api: Azure.
        cluster: its name.
        group: the resource group that everything is in.
        location: Azure's region.
        tags: the user's own, for a group that is made.
    """

    def __init__(
        self, api: Arm, cluster: str, group: str, location: str, tags: Mapping[str, str]
    ) -> None:
        self._api = api
        self._cluster = cluster
        self._location = location
        self._tags = {**tags, CLUSTER: cluster}
        self._group = f"resourceGroups/{group}"
        name = name_at(cluster, "network")
        within = f"{self._group}/providers/Microsoft.Network"
        self._rules = f"{within}/networkSecurityGroups/{name}"
        self._network = f"{within}/virtualNetworks/{name}"

    def make_group(self) -> None:
        """Unless it is there: then it stays as it is.  Raises ApiError."""
        if self._tags_of_group() is None:
            body = {"location": self._location, "tags": self._tags}
            self._api.call(f"{_GROUP_RIGHT}/write", "PUT", self._group, RESOURCES, body)

    def make(self) -> tuple[str, str]:
        """The network and its rules; the ids of its subnet and of the rules.

        ssh is let in; everything between the machines of one network is, at Azure.

        Raises:
            ApiError: Azure refuses, or it takes too long.
        """
        ssh = {
            "protocol": "Tcp",
            "sourceAddressPrefix": "*",
            "sourcePortRange": "*",
            "destinationAddressPrefix": "*",
            "destinationPortRange": "22",
            "access": "Allow",
            "direction": "Inbound",
            "priority": 1000,
        }
        rules = self._api.identity(self._rules)
        self._put(
            "networkSecurityGroups",
            self._rules,
            {"securityRules": [{"name": "ssh", "properties": ssh}]},
        )
        subnet = {"addressPrefix": _RANGE, "networkSecurityGroup": {"id": rules}}
        self._put(
            "virtualNetworks",
            self._network,
            {
                "addressSpace": {"addressPrefixes": [_RANGE]},
                "subnets": [{"name": _SUBNET, "properties": subnet}],
            },
        )
        return f"{self._api.identity(self._network)}/subnets/{_SUBNET}", rules

    def remove(self) -> list[str]:
        """Once there is no machine any more; what is still there, in words.  Raises ApiError."""
        # The rules go once the network that has them has gone.
        ours = {"virtualNetworks": self._network, "networkSecurityGroups": self._rules}
        for kind, path in ours.items():
            if not self._is_gone(kind, path):
                return [f"{kind[:-1]} {path.rpartition('/')[2]}"]
        if (self._tags_of_group() or {}).get(CLUSTER) != self._cluster:
            return []
        doing = f"{_GROUP_RIGHT}/resources/read"
        if any(self._api.items(doing, f"{self._group}/resources", RESOURCES)):
            return []  # somebody else's, or the user's own
        doing = f"{_GROUP_RIGHT}/delete"
        began = self._api.call(doing, "DELETE", self._group, RESOURCES)
        if self._api.end_of(began, doing, _DELETED_S):
            return []
        return [f"resource group {self._group.rpartition('/')[2]}"]

    def _put(self, kind: str, path: str, properties: dict[str, Any]) -> None:
        """The same again changes nothing."""
        doing = f"{_RIGHT}/{kind}/write"
        tags = {CLUSTER: self._cluster}
        body = {"location": self._location, "tags": tags, "properties": properties}
        began = self._api.call(doing, "PUT", path, NETWORK, body)
        if not self._api.end_of(began, doing, _MADE_S):
            raise ApiError("", f"{path} is not made after {_MADE_S:g} s", doing)

    def _is_gone(self, kind: str, path: str) -> bool:
        """Have it deleted, and see whether it is."""
        doing = f"{_RIGHT}/{kind}/delete"
        try:
            self._api.call(f"{_RIGHT}/{kind}/read", "GET", path, NETWORK)
            return self._api.end_of(
                self._api.call(doing, "DELETE", path, NETWORK), doing, _DELETED_S
            )
        except ApiError as error:
            if is_gone(error):
                return True
            if error.code not in _IN_USE:
                raise
        return False

    def _tags_of_group(self) -> dict[str, str] | None:
        """None: there is no such group."""
        try:
            found = self._api.call(f"{_GROUP_RIGHT}/read", "GET", self._group, RESOURCES).body
        except ApiError as error:
            if is_gone(error):
                return None
            raise
        return found.get("tags") or {}
