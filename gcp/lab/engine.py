"""Compute Engine in memory: instances, operations, labels, and what goes wrong on demand.

Used by `http_api`, which holds its lock.  An operation that was begun is done by the time of the
next request: an insert for which there is no room has been accepted, as at Google.
"""

from __future__ import annotations

import copy
import itertools
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from gcp.lab.rules import RefusedError, check_body, check_labels

_FILTER = re.compile(r"labels\.([a-z0-9_-]+)(?:=([a-z0-9_-]+)|:\*)")
_NO_ROOM, _QUOTA = "ZONE_RESOURCE_POOL_EXHAUSTED", "QUOTA_EXCEEDED"


@dataclass
class Faults:
    """What is to go wrong.

    Attributes:
        full: zones and machine types without room.
        quota: so many instances may there be.
        deny: calls that are not permitted, by their names.
        lose: so many replies of inserts that have been done get lost.
        throttle: so many calls are too many.
    """

    full: list[str] = field(default_factory=list)
    quota: int = 1000
    deny: list[str] = field(default_factory=list)
    lose: int = 0
    throttle: int = 0


class Engine:
    """One project's."""

    def __init__(self) -> None:
        self.instances: dict[str, dict[str, Any]] = {}
        self.faults = Faults()
        #: Whether a machine that is being deleted may have gone, by its id.
        self.may_go: Callable[[str], bool] = lambda identity: True
        self._operations: dict[str, dict[str, Any]] = {}
        self._requests: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def insert(self, zone: str, body: Mapping[str, Any], query: Mapping[str, str]) -> Any:
        """instances.insert: the operation."""
        request = query.get("requestId", "")
        if request:
            uuid.UUID(request)
            if request in self._requests:
                return self._operations[self._requests[request]]
        check_body(body, zone)
        name = str(body["name"])
        if f"{zone}/{name}" in self.instances:
            text = f"The resource 'projects/lab/zones/{zone}/instances/{name}' already exists"
            raise RefusedError(409, "alreadyExists", text)
        number = next(self._numbers)
        made = copy.deepcopy(dict(body))
        made |= {"id": str(8_000_000 + number), "zone": f"projects/lab/zones/{zone}"}
        made |= {"status": "PROVISIONING", "labelFingerprint": "f0"}
        made["creationTimestamp"] = datetime.now(timezone.utc).isoformat()
        interface = made["networkInterfaces"][0]
        interface["networkIP"] = f"10.138.{number // 250}.{number % 250 + 2}"
        for outside in interface.get("accessConfigs", []):
            outside["natIP"] = f"203.0.113.{number % 250 + 2}"
        self.instances[f"{zone}/{name}"] = made
        operation = self._operation("insert", zone, name)
        if request:
            self._requests[request] = operation["name"]
        return operation

    def delete(self, zone: str, name: str) -> Any:
        """instances.delete: the operation."""
        self.one(zone, name)["status"] = "STOPPING"
        return self._operation("delete", zone, name)

    def set_labels(self, zone: str, name: str, body: Mapping[str, Any]) -> Any:
        """instances.setLabels: the operation."""
        found = self.one(zone, name)
        if body.get("labelFingerprint") != found["labelFingerprint"]:
            raise RefusedError(412, "conditionNotMet", "Labels fingerprint either invalid or old")
        check_labels(body["labels"])
        found["labels"] = dict(body["labels"])
        found["labelFingerprint"] = f"f{next(self._numbers)}"
        return self._operation("setLabels", zone, name)

    def aggregated(self, query: Mapping[str, str]) -> Any:
        """instances.aggregatedList: one instance to a page."""
        match = _FILTER.fullmatch(query.get("filter", ""))
        if match is None:
            raise RefusedError(400, "invalid", "Invalid value for field 'filter'")
        key, value = match[1], match[2]
        shown = [
            x
            for x in self.instances.values()
            if key in x["labels"] and value in (None, x["labels"][key])
        ]
        start = int(query.get("pageToken", 0))
        empty = {"warning": {"code": "NO_RESULTS_ON_PAGE"}}
        page: dict[str, Any] = {"items": {"zones/us-central1-f": empty}}
        for each in shown[start : start + 1]:
            zone = each["zone"].rpartition("/")[2]
            page["items"][f"zones/{zone}"] = {"instances": [each]}
        if start + 1 < len(shown):
            page["nextPageToken"] = str(start + 1)
        return page

    def operation(self, zone: str, name: str) -> Any:
        """zoneOperations.get and wait."""
        found = self._operations.get(name)
        if found is None or found["zone"] != zone:
            raise RefusedError(404, "notFound", f"The resource '{name}' was not found")
        return found

    def one(self, zone: str, name: str) -> dict[str, Any]:
        """An instance.  Raises RefusedError."""
        found = self.instances.get(f"{zone}/{name}")
        if found is None:
            text = f"The resource 'projects/lab/zones/{zone}/instances/{name}' was not found"
            raise RefusedError(404, "notFound", text)
        return found

    def stop(self, identity: str) -> None:
        """An instance has switched itself off."""
        for each in self.instances.values():
            if each["id"] == identity:
                each["status"] = "TERMINATED"
                each["lastStopTimestamp"] = datetime.now(timezone.utc).isoformat()

    def go_on(self) -> None:
        """Operations that were begun come to their end."""
        for operation in self._operations.values():
            if operation["status"] == "RUNNING":
                self._end(operation)

    def _end(self, operation: dict[str, Any]) -> None:
        key = f"{operation['zone']}/{operation['target']}"
        found = self.instances.get(key)
        if operation["operationType"] == "delete" and found and not self.may_go(found["id"]):
            return
        operation["status"] = "DONE"
        if operation["operationType"] == "delete":
            self.instances.pop(key, None)
        if operation["operationType"] != "insert" or key not in self.instances:
            return
        why = self._why_not(operation["zone"], self.instances[key])
        if why is None:
            self.instances[key]["status"] = "RUNNING"
            return
        del self.instances[key]
        operation["error"] = {"errors": [{"code": why[0], "message": why[1]}]}

    def _why_not(self, zone: str, made: Mapping[str, Any]) -> tuple[str, str] | None:
        if {zone, made["machineType"].rpartition("/")[2]} & set(self.faults.full):
            text = f"The zone 'projects/lab/zones/{zone}' does not have enough resources available"
            return _NO_ROOM, text
        if len(self.instances) > self.faults.quota:
            return _QUOTA, f"Quota 'CPUS' exceeded.  Limit: {2.0 * self.faults.quota} in region"
        return None

    def _operation(self, kind: str, zone: str, target: str) -> dict[str, Any]:
        name = f"operation-{next(self._numbers)}"
        made = {"name": name, "zone": zone, "operationType": kind, "target": target}
        self._operations[name] = {**made, "status": "RUNNING"}
        return copy.deepcopy(self._operations[name])
