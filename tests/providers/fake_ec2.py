"""EC2 in memory, as far as the provider calls it.  Used by `test_aws`."""

from __future__ import annotations

import itertools
from typing import Any

from rayhpc.providers.aws.api import ApiError


class FakeEc2:
    """Implements `api.Api`.

    Attributes:
        calls: every call, with its words.
        instances: what there is, by id.
        full: zones without room.
        refuse: an operation's error code, each for one call.
        lose: so many replies of RunInstances are lost after it has been done.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.instances: dict[str, dict[str, Any]] = {}
        self.hidden: set[str] = set()
        self.full: set[str] = set()
        self.refuse: dict[str, str] = {}
        self.lose = 0
        self._tokens: dict[str, str] = {}
        self._ids = itertools.count(1)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """See `Api`."""
        self.calls.append((operation, parameters))
        if operation in self.refuse:
            code = self.refuse.pop(operation)
            raise ApiError(code, f"{code} says no")
        answer: dict[str, Any] = getattr(self, f"_{operation}")(parameters)
        return answer

    def parameter(self, name: str) -> str:
        """See `Api`."""
        return f"ami-{name.split('/')[-4]}"

    def of(self, operation: str) -> list[dict[str, Any]]:
        """The words of all calls of an operation."""
        return [words for name, words in self.calls if name == operation]

    def _run_instances(self, words: dict[str, Any]) -> dict[str, Any]:
        zone = words.get("Placement", {}).get("AvailabilityZone", words.get("SubnetId", ""))
        token = words["ClientToken"]
        if token not in self._tokens:
            if zone in self.full:
                raise ApiError("InsufficientInstanceCapacity", "none here")
            name = f"i-{next(self._ids)}"
            self._tokens[token] = name
            tags = next(
                x["Tags"] for x in words["TagSpecifications"] if x["ResourceType"] == "instance"
            )
            self.instances[name] = {
                "InstanceId": name,
                "State": {"Name": "pending"},
                "Tags": tags,
                "PrivateIpAddress": f"10.0.0.{len(self.instances) + 1}",
                "PublicIpAddress": f"192.0.2.{len(self.instances) + 1}",
            }
        elif self.instances[self._tokens[token]]["State"]["Name"] == "terminated":
            raise ApiError("IdempotentInstanceTerminated", "that one has ended")
        if self.lose:
            self.lose -= 1
            raise ApiError("", "Read timeout on endpoint URL")
        return {"Instances": [self.instances[self._tokens[token]]]}

    def _describe_instances(self, words: dict[str, Any]) -> dict[str, Any]:
        """One to a page."""
        shown = [x for x in self.instances.values() if x["InstanceId"] not in self.hidden]
        start = int(words.get("NextToken", 0))
        page: dict[str, Any] = {"Reservations": [{"Instances": shown[start : start + 1]}]}
        if start + 1 < len(shown):
            page["NextToken"] = str(start + 1)
        return page

    def _terminate_instances(self, words: dict[str, Any]) -> dict[str, Any]:
        for name in words["InstanceIds"]:
            self.instances[name]["State"] = {"Name": "terminated"}
            self.instances[name]["StateReason"] = {"Message": "Client.UserInitiatedShutdown"}
        return {}

    def _import_key_pair(self, words: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _create_tags(self, words: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _delete_tags(self, words: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _describe_security_groups(self, words: dict[str, Any]) -> dict[str, Any]:
        return {"SecurityGroups": [{"GroupId": "sg-1"}] if self.of("create_security_group") else []}

    def _create_security_group(self, words: dict[str, Any]) -> dict[str, Any]:
        return {"GroupId": "sg-1"}

    def _authorize_security_group_ingress(self, words: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _describe_key_pairs(self, words: dict[str, Any]) -> dict[str, Any]:
        return {"KeyPairs": [{"KeyName": "rayhpc-c-1"}]}

    def _delete_key_pair(self, words: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _delete_security_group(self, words: dict[str, Any]) -> dict[str, Any]:
        return {}
