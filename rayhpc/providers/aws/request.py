"""From a node type to the words of RunInstances.  Used by `provider`.  Pure.

Everything in `node_config` goes to EC2 as it stands, except what is decided here; Ray's own
`SubnetIds`, and a list of instance types, mean that one after the other is tried.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import NodeType
from rayhpc.providers.cloud_init import user_data
from rayhpc.providers.cloud_names import CLUSTER, MACHINE, MADE_OF, OWNER, TYPE
from rayhpc.providers.machines import print_of

# EC2's own limit, before base64.
MOST_BYTES = 16384
_OURS = ("ClientToken", "MinCount", "MaxCount", "InstanceInitiatedShutdownBehavior", "DryRun")
_DEFAULT_TYPE = "m5.large"
# m6g, c7gn, im4gn: but not g4dn, whose g comes before the generation.
_ARM = re.compile(r"(?:a1|[a-z]+\d+[a-z]*g[a-z]*)\.")


@dataclass(frozen=True)
class Try:
    """One place to ask: an instance type, and a zone or subnet (empty: EC2 chooses)."""

    kind: str
    zone: str = ""
    subnet: str = ""

    @property
    def where(self) -> str:
        """In words."""
        return self.subnet or self.zone or "any zone"


@dataclass(frozen=True)
class Surroundings:
    """What a machine is put into: image, key pair, security groups; and whose it is.

    `public_keys`: whom it lets in besides whoever has the key pair.
    """

    image: str
    key_name: str
    groups: Sequence[str]
    owner: str
    public_keys: Sequence[str] = ()


def check(kind: NodeType) -> None:
    """Refuse what a node type may not say.  Raises OptionError."""
    for key in _OURS:
        if key in kind.options:
            raise OptionError(f"node type {kind.name}: {key} is set by rayhpc itself; leave it out")
    try:
        _user_data("", kind, ())
    except ValueError as error:
        raise OptionError(f"node type {kind.name}: {error}") from None


def tries(kind: NodeType, zones: Sequence[str]) -> Iterator[Try]:
    """Where to ask, in turn: each type in each zone."""
    subnets = subnets_of(kind)
    placed = kind.options.get("Placement")
    fixed = isinstance(placed, Mapping) and "AvailabilityZone" in placed
    for instance_type in instance_types(kind):
        if subnets:
            yield from (Try(instance_type, subnet=subnet) for subnet in subnets)
        elif zones and not fixed and "NetworkInterfaces" not in kind.options:
            yield from (Try(instance_type, zone=zone) for zone in zones)
        else:
            yield Try(instance_type)


def subnets_of(kind: NodeType) -> list[str]:
    """The subnets that will do; none: the default ones."""
    return _list(kind.options.get("SubnetIds")) or _list(kind.options.get("SubnetId"))


def instance_types(kind: NodeType) -> list[str]:
    """The instance types that will do, the best first."""
    return _list(kind.options.get("InstanceType")) or [_DEFAULT_TYPE]


def architecture(instance_type: str) -> str:
    """Of its processors, as Ubuntu calls it."""
    return "arm64" if _ARM.match(instance_type) else "amd64"


def parameters(
    cluster: str, kind: NodeType, name: str, at: Try, around: Surroundings, life: int = 0
) -> dict[str, Any]:
    """The words of RunInstances for one machine.

    The same machine asked for at the same place has the same token, by which EC2 knows it again.
    EC2 remembers a token for longer than it shows the machine, and makes none with that of one that
    has ended: `life` counts those that had the same name before.
    """
    given = {key: value for key, value in kind.options.items() if key != "SubnetIds"}
    given |= {"InstanceType": at.kind, "MinCount": 1, "MaxCount": 1}
    given["InstanceInitiatedShutdownBehavior"] = "terminate"
    given.setdefault("ImageId", around.image)
    given.setdefault("KeyName", around.key_name)
    if "NetworkInterfaces" not in given:
        given.setdefault("SecurityGroupIds", list(around.groups))
        if at.subnet:
            given["SubnetId"] = at.subnet
    if at.zone:
        given["Placement"] = {**_mapping(given.get("Placement")), "AvailabilityZone": at.zone}
    # The machine's own credentials are for programs on it that ask properly (IMDSv2).
    given.setdefault("MetadataOptions", {"HttpTokens": "required", "HttpPutResponseHopLimit": 1})
    given["UserData"] = _user_data(cluster, kind, around.public_keys)
    given["TagSpecifications"] = _tags(cluster, kind, name, around.owner)
    given["ClientToken"] = _token([name, life], given)
    return given


def _token(which: list[object], given: Mapping[str, Any]) -> str:
    text = json.dumps([which, given], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _tags(cluster: str, kind: NodeType, name: str, owner: str) -> list[dict[str, Any]]:
    ours = {
        "Name": f"{cluster} {name}",
        CLUSTER: cluster,
        MACHINE: name,
        TYPE: kind.name,
        MADE_OF: print_of(kind),
        OWNER: owner,
    }
    given: dict[str, dict[str, str]] = {"instance": {}, "volume": {}}
    users = kind.options.get("TagSpecifications")
    for each in users if isinstance(users, list) else []:
        tags = {tag["Key"]: tag["Value"] for tag in each.get("Tags", [])}
        given.setdefault(each.get("ResourceType", "instance"), {}).update(tags)
    for resource in ("instance", "volume"):
        # The user's own Name stays; the rest is how the machine is found.
        given[resource] = {**ours, **given[resource], **{k: ours[k] for k in ours if k != "Name"}}
    return [{"ResourceType": resource, "Tags": as_tags(tags)} for resource, tags in given.items()]


def as_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """In EC2's shape."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def of_tags(tags: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """From EC2's shape."""
    return {tag["Key"]: tag["Value"] for tag in tags or ()}


def _user_data(cluster: str, kind: NodeType, public_keys: Sequence[str]) -> str:
    users = kind.options.get("UserData")
    told = None if users is None else str(users)
    text = user_data(cluster, told, public_keys=public_keys)
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(f"UserData is longer than EC2's {MOST_BYTES} bytes")
    return text


def _list(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(each) for each in value] if isinstance(value, (list, tuple)) else []


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
