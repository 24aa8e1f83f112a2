"""What a cluster has at EC2 beside machines: a security group and a key pair of its own.

Used by `provider`.  Both bear the cluster's tag, by which they are found again and removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from rayhpc.elastic.types import NodeType
from rayhpc.providers.aws.api import Api, ApiError
from rayhpc.providers.aws.request import as_tags, subnets_of
from rayhpc.providers.cloud_names import CLUSTER

_THERE_ALREADY = ("InvalidGroup.Duplicate", "InvalidKeyPair.Duplicate")
_RULE_THERE = "InvalidPermission.Duplicate"
_IN_USE = ("DependencyViolation", "InvalidGroup.InUse")


def key_name(cluster: str, public_key: str) -> str:
    """Another key has another name, so that two users' machines do not take each other's."""
    key = " ".join(public_key.split()[:2])
    return f"rayhpc-{cluster}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def make_key(api: Api, cluster: str, public_key: str) -> str:
    """Have EC2 know the key; its name there.  Raises ApiError."""
    name = key_name(cluster, public_key)
    try:
        api.call(
            "import_key_pair",
            KeyName=name,
            PublicKeyMaterial=public_key.encode(),
            TagSpecifications=[_tag("key-pair", cluster)],
        )
    except ApiError as error:
        if error.code not in _THERE_ALREADY:
            raise
    return name


def make_group(api: Api, cluster: str, kind: NodeType, more: Sequence[Mapping[str, Any]]) -> str:
    """The group in the network that a type's machines are in; its id.

    It lets in ssh, whatever the file adds, and everything from the cluster's own machines.

    Raises:
        ApiError: EC2 refuses.
    """
    network = _network_of(api, kind)
    name = f"rayhpc-{cluster}"
    found = _groups(api, cluster, network)
    if not found:
        try:
            made = api.call(
                "create_security_group",
                GroupName=name,
                Description=f"rayhpc cluster {cluster}",
                **({"VpcId": network} if network else {}),
                TagSpecifications=[_tag("security-group", cluster)],
            )
            found = [made["GroupId"]]
        except ApiError as error:
            if error.code not in _THERE_ALREADY:
                raise
            found = _groups(api, cluster, network)
            if not found:
                raise
    _let_in(api, found[0], more)
    return found[0]


def remove(api: Api, cluster: str) -> list[str]:
    """Remove them all; what is still in use, in words.  Raises ApiError."""
    for pair in api.call("describe_key_pairs", Filters=[_filter(cluster)]).get("KeyPairs", []):
        api.call("delete_key_pair", KeyName=pair["KeyName"])
    left = []
    for group in _groups(api, cluster, None):
        try:
            api.call("delete_security_group", GroupId=group)
        except ApiError as error:
            if error.code not in _IN_USE:
                raise
            left.append(f"security group {group}")
    return left


def _let_in(api: Api, group: str, more: Sequence[Mapping[str, Any]]) -> None:
    rules: list[Mapping[str, Any]] = [
        {
            "IpProtocol": "tcp",
            "FromPort": 22,
            "ToPort": 22,
            "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "ssh"}],
        },
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]},
        *more,
    ]
    for rule in rules:
        try:
            api.call("authorize_security_group_ingress", GroupId=group, IpPermissions=[rule])
        except ApiError as error:
            if error.code != _RULE_THERE:
                raise


def _network_of(api: Api, kind: NodeType) -> str | None:
    """The network of the first of a type's subnets; None: the account's default one."""
    subnets = subnets_of(kind)
    if not subnets:
        return None
    found = api.call("describe_subnets", SubnetIds=subnets[:1])["Subnets"]
    return str(found[0]["VpcId"]) if found else None


def _groups(api: Api, cluster: str, network: str | None) -> list[str]:
    filters = [_filter(cluster)]
    if network is not None:
        filters.append({"Name": "vpc-id", "Values": [network]})
    found = api.call("describe_security_groups", Filters=filters)["SecurityGroups"]
    return [str(each["GroupId"]) for each in found]


def _filter(cluster: str) -> dict[str, Any]:
    return {"Name": f"tag:{CLUSTER}", "Values": [cluster]}


def _tag(resource: str, cluster: str) -> dict[str, Any]:
    return {"ResourceType": resource, "Tags": as_tags({CLUSTER: cluster})}
