"""Azure in memory: resource groups, what is in them, operations, and what goes wrong on demand.

Used by `http_api`, which holds its lock.  An operation that was begun is done by the time of the
next request: a machine for which there is no room has been accepted, as at Azure, and stays in its
list as a failed one.
"""

from __future__ import annotations

import copy
import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from arm.lab.rules import RefusedError, check_body

_NAMESPACES = {
    "virtualMachines": "Microsoft.Compute",
    "networkInterfaces": "Microsoft.Network",
    "publicIPAddresses": "Microsoft.Network",
    "virtualNetworks": "Microsoft.Network",
    "networkSecurityGroups": "Microsoft.Network",
}
_NO_ROOM = "We do not have sufficient capacity for the requested VM size in this region."


@dataclass
class Faults:
    """What is to go wrong.

    Attributes:
        full: zones and sizes without room, which is known only once a machine was accepted.
        unsold: likewise, but known at once.
        quota: so many machines may there be.
        spent: sizes whose quota is used up.
        deny: calls that are not permitted, by the rights that they need.
        lose: so many replies to requests for machines that have been accepted get lost.
        throttle: so many calls are too many.
        only_groups: the caller has rights on resource groups, not on the subscription.
    """

    full: list[str] = field(default_factory=list)
    unsold: list[str] = field(default_factory=list)
    quota: int = 1000
    spent: list[str] = field(default_factory=list)
    deny: list[str] = field(default_factory=list)
    lose: int = 0
    throttle: int = 0
    only_groups: bool = False


@dataclass
class Operation:
    """Something that was begun: `resource` by its key, and how it ended."""

    name: str
    kind: str
    resource: str
    status: str = "InProgress"
    error: dict[str, str] | None = None


class Engine:
    """One subscription's."""

    def __init__(self, subscription: str) -> None:
        self.faults = Faults()
        #: Whether a machine that is being deleted may have gone, by its id.
        self.may_go: Callable[[str], bool] = lambda identity: True
        self.groups: dict[str, dict[str, Any]] = {}
        #: By their ids in small letters.
        self.resources: dict[str, dict[str, Any]] = {}
        self.power: dict[str, str] = {}
        #: What each machine was told at its start, by its id: it is shown to nobody.
        self.told: dict[str, str] = {}
        self.operations: dict[str, Operation] = {}
        self._errors: dict[str, tuple[str, str]] = {}
        self._root = f"/subscriptions/{subscription}"
        self._numbers = itertools.count(1)

    # -- resource groups -------------------------------------------------------------------------
    def group(self, name: str) -> dict[str, Any]:
        """One of them.  Raises RefusedError."""
        found = self.groups.get(name.lower())
        if found is None:
            text = f"Resource group '{name}' could not be found."
            raise RefusedError(404, "ResourceGroupNotFound", text)
        return found

    def put_group(self, name: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Make or change it: HTTP's status, and it."""
        check_body("resourceGroups", name, body)
        there = self.groups.get(name.lower())
        if there is not None and there["location"] != body["location"]:
            text = f"Invalid resource group location '{body['location']}'. It already exists in"
            raise RefusedError(409, "InvalidResourceGroupLocation", f"{text} {there['location']}.")
        made = {"id": f"{self._root}/resourceGroups/{name}", "name": name, **copy.deepcopy(body)}
        self.groups[name.lower()] = {**made, "properties": {"provisioningState": "Succeeded"}}
        return (200 if there else 201), self.groups[name.lower()]

    def delete_group(self, name: str) -> Operation:
        """With all that is in it."""
        self.group(name)
        return self._begin("delete", f"group:{name.lower()}")

    # -- resources -------------------------------------------------------------------------------
    def identity(self, group: str, kind: str, name: str) -> str:
        """The whole id of one."""
        within = f"{self._root}/resourceGroups/{group}/providers"
        return f"{within}/{_NAMESPACES[kind]}/{kind}/{name}"

    def one(self, identity: str) -> dict[str, Any]:
        """One of them.  Raises RefusedError."""
        found = self.resources.get(identity.lower())
        if found is None:
            short = "/".join(identity.split("/")[-3:])
            text = f"The Resource '{short}' was not found."
            raise RefusedError(404, "ResourceNotFound", text)
        return found

    def some(self, kind: str, group: str | None) -> list[dict[str, Any]]:
        """All of a kind, of a group or all."""
        if group is not None:
            self.group(group)
        start = f"{self._root}/resourceGroups/{group or ''}{'/' if group else ''}".lower()
        middle = f"/{kind}/".lower()
        return [x for key, x in self.resources.items() if key.startswith(start) and middle in key]

    def all_in(self, group: str) -> list[dict[str, Any]]:
        """Everything in a group."""
        return [x for kind in _NAMESPACES for x in self.some(kind, group)]

    def put(self, group: str, kind: str, name: str, body: Mapping[str, Any], *, new: bool) -> Any:
        """Make it: HTTP's status, it, and the operation; `new`: only if there is none."""
        where = self.group(group)
        check_body(kind, name, body)
        identity = self.identity(where["name"], kind, name)
        there = self.resources.get(identity.lower())
        if there is not None and new:
            text = "The condition '*' in the If-None-Match header is not satisfied."
            raise RefusedError(412, "PreconditionFailed", text)
        made = {"id": identity, "name": name, "type": f"{_NAMESPACES[kind]}/{kind}"}
        made |= copy.deepcopy(dict(body))
        if kind == "virtualMachines":
            if there is not None:
                text = "Changing property 'osProfile.customData' is not allowed."
                raise RefusedError(409, "PropertyChangeNotAllowed", text)
            self._make_machine(made, where["name"])
        for subnet in made["properties"].get("subnets") or ():
            subnet["id"] = f"{identity}/subnets/{subnet['name']}"
        made["properties"]["provisioningState"] = "Creating" if there is None else "Updating"
        self.resources[identity.lower()] = made
        return (201 if there is None else 200), made, self._begin("put", identity.lower())

    def delete(self, identity: str) -> Operation:
        """Begin to.  Raises RefusedError."""
        found = self.one(identity)
        kind = found["type"].rpartition("/")[2]
        others = [x for x in self.resources.values() if x is not found]
        if any(identity.lower() in str(each).lower() for each in others):
            code = {
                "virtualNetworks": "InUseSubnetCannotBeDeleted",
                "networkSecurityGroups": "InUseNetworkSecurityGroupCannotBeDeleted",
            }.get(kind)
            if code:
                raise RefusedError(400, code, f"{found['name']} is in use and cannot be deleted.")
        found["properties"]["provisioningState"] = "Deleting"
        return self._begin("delete", identity.lower())

    def set_tags(self, identity: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge or delete."""
        check_body("tags", "default", body)
        found = self.one(identity)
        tags = found.setdefault("tags", {})
        for key, value in body["properties"]["tags"].items():
            if body["operation"] == "Merge":
                tags[key] = value
            elif body["operation"] == "Delete":
                tags.pop(key, None)
            else:
                raise RefusedError(400, "InvalidRequestContent", "operation: Merge or Delete")
        return {"properties": {"tags": tags}}

    def view(self, identity: str) -> list[dict[str, str]]:
        """How a machine fares: its statuses."""
        found = self.one(identity)
        key = identity.lower()
        state = found["properties"]["provisioningState"]
        if key in self._errors:
            code, text = self._errors[key]
            failed = {"code": f"ProvisioningState/failed/{code}", "level": "Error"}
            return [{**failed, "displayStatus": "Provisioning failed", "message": text}]
        made = {"code": f"ProvisioningState/{state.lower()}", "level": "Info"}
        statuses = [{**made, "displayStatus": f"Provisioning {state.lower()}"}]
        if state == "Succeeded":
            power = self.power.get(key, "running")
            on = {"code": f"PowerState/{power}", "level": "Info", "displayStatus": f"VM {power}"}
            statuses.append(on)
        return statuses

    def stop(self, identity: str) -> None:
        """A machine has switched itself off: it stays where it is, and on the bill."""
        for key, each in self.resources.items():
            if each["properties"].get("vmId") == identity:
                self.power[key] = "stopped"

    # -- operations ------------------------------------------------------------------------------
    def go_on(self) -> None:
        """Those that were begun come to their end."""
        for operation in self.operations.values():
            if operation.status == "InProgress":
                self._end(operation)

    def _begin(self, kind: str, resource: str) -> Operation:
        name = str(uuid.UUID(int=next(self._numbers)))
        self.operations[name] = Operation(name, kind, resource)
        return self.operations[name]

    def _end(self, operation: Operation) -> None:
        key = operation.resource
        if key.startswith("group:"):
            self._end_group(key[6:])
        elif operation.kind == "delete":
            found = self.resources.get(key)
            if found is not None and not self.may_go(found["properties"].get("vmId", "")):
                return
            for gone in [key, *self._made_for(key)]:
                self.resources.pop(gone, None)
            self._errors.pop(key, None)
            self.power.pop(key, None)
        elif key in self.resources:
            self._end_put(operation, self.resources[key])
            return
        operation.status = "Succeeded"

    def _end_group(self, name: str) -> None:
        for found in self.all_in(name) if name in self.groups else ():
            self.resources.pop(found["id"].lower(), None)
        self.groups.pop(name, None)

    def _end_put(self, operation: Operation, made: dict[str, Any]) -> None:
        if made["properties"]["provisioningState"] == "Deleting":
            operation.status = "Canceled"
            return
        if made["type"].endswith("/virtualMachines") and _places(made) & set(self.faults.full):
            code = "ZonalAllocationFailed" if made.get("zones") else "AllocationFailed"
            made["properties"]["provisioningState"] = operation.status = "Failed"
            operation.error = {"code": code, "message": _NO_ROOM}
            self._errors[operation.resource] = (code, _NO_ROOM)
            return
        made["properties"]["provisioningState"] = operation.status = "Succeeded"

    # -- machines --------------------------------------------------------------------------------
    def _make_machine(self, made: dict[str, Any], group: str) -> None:
        """Its interface and address are made with it, under names of Azure's own."""
        properties = made["properties"]
        if _places(made) & set(self.faults.unsold):
            size = properties["hardwareProfile"]["vmSize"]
            text = f"The requested VM size {size} is currently not available in location"
            raise RefusedError(409, "SkuNotAvailable", f"{text} '{made['location']}'.")
        is_full = len(self.some("virtualMachines", None)) >= self.faults.quota
        if is_full or _places(made) & set(self.faults.spent):
            text = "Operation could not be completed as it results in exceeding approved Total"
            limit = 2 * self.faults.quota
            text = f"{text} Regional Cores quota. Current Limit: {limit}"
            raise RefusedError(409, "OperationNotAllowed", text)
        network = properties["networkProfile"]
        (asked,) = network.pop("networkInterfaceConfigurations")
        network.pop("networkApiVersion")
        interface = self._make_interface(asked, made, group)
        network["networkInterfaces"] = [{"id": interface["id"]}]
        properties["vmId"] = str(uuid.uuid4())
        self.told[properties["vmId"]] = properties["osProfile"].pop("customData", "")
        now = datetime.now(timezone.utc)
        properties["timeCreated"] = now.strftime("%Y-%m-%dT%H:%M:%S.0000001Z")

    def _make_interface(
        self, asked: dict[str, Any], machine: Mapping[str, Any], group: str
    ) -> dict[str, Any]:
        number = next(self._numbers)
        (configuration,) = asked["properties"]["ipConfigurations"]
        inside = configuration["properties"]
        self._must_be(inside["subnet"]["id"].rpartition("/subnets/")[0])
        if "networkSecurityGroup" in asked["properties"]:
            self._must_be(asked["properties"]["networkSecurityGroup"]["id"])
        inside["privateIPAddress"] = f"10.84.{number // 250}.{number % 250 + 4}"
        wanted = inside.pop("publicIPAddressConfiguration", None)
        if wanted is not None:
            address = f"203.0.113.{number % 250 + 2}"
            public = self._add(group, "publicIPAddresses", f"{wanted['name']}-{number}", machine)
            public["properties"]["ipAddress"] = address
            inside["publicIPAddress"] = {"id": public["id"]}
        made = self._add(group, "networkInterfaces", f"{asked['name']}-{number}", machine)
        made["properties"] |= {**asked["properties"], "virtualMachine": {"id": machine["id"]}}
        return made

    def _add(self, group: str, kind: str, name: str, machine: Mapping[str, Any]) -> dict[str, Any]:
        identity = self.identity(group, kind, name)
        made: dict[str, Any] = {"id": identity, "name": name, "type": f"Microsoft.Network/{kind}"}
        made |= {"location": machine["location"], "properties": {"provisioningState": "Succeeded"}}
        self.resources[identity.lower()] = made
        return made

    def _must_be(self, identity: str) -> None:
        if identity.lower() not in self.resources:
            text = f"Resource {identity} referenced by the virtual machine was not found."
            raise RefusedError(400, "InvalidResourceReference", text)

    def addresses(self, machine: Mapping[str, Any]) -> list[str]:
        """A machine's, the one inside first."""
        (interface,) = machine["properties"]["networkProfile"]["networkInterfaces"]
        (configuration,) = self.one(interface["id"])["properties"]["ipConfigurations"]
        inside = configuration["properties"]
        found = [str(inside["privateIPAddress"])]
        if "publicIPAddress" in inside:
            public = self.one(inside["publicIPAddress"]["id"])
            found.append(str(public["properties"]["ipAddress"]))
        return found

    def _made_for(self, machine: str) -> Iterator[str]:
        """What goes with a machine."""
        for key, each in list(self.resources.items()):
            owner = each["properties"].get("virtualMachine")
            if owner and owner["id"].lower() == machine:
                yield key
                for inside in each["properties"]["ipConfigurations"]:
                    public = inside["properties"].get("publicIPAddress")
                    if public:
                        yield public["id"].lower()


def _places(machine: Mapping[str, Any]) -> set[str]:
    return {machine["properties"]["hardwareProfile"]["vmSize"], *(machine.get("zones") or ())}
