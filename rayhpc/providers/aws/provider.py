"""Amazon EC2 as a provider.

Found by `providers.registry`.  One RunInstances for each machine, with a token made of its name and
of all that is asked for, by which EC2 itself knows a request that it has heard already; everything
else is found again by tags.  Nothing is kept here but which zone had no room lately.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from rayhpc.elastic.types import NodeType
from rayhpc.providers.aws import answers, instances, network, request
from rayhpc.providers.aws.api import Api, ApiError, Boto
from rayhpc.providers.aws.request import Surroundings, Try, of_tags
from rayhpc.providers.cloud_names import CLUSTER, LEASE, MACHINE
from rayhpc.providers.machines import (
    MachineKind,
    MachineProvider,
    Rented,
    Watched,
    owner,
)
from rayhpc.providers.options import refuse_unknown
from rayhpc.providers.zones import Cold, make_somewhere, zones_of

# A name is given again once EC2 no longer shows the machine that had it; so many times a day.
_LIVES = 100
# Canonical's own, kept up to date in every region.
_IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{}/hvm/ebs-gp3/ami-id"
# `provider` of a cluster's file: what Ray has and what of it means something here.
_USED = (
    *("type", "region", "availability_zone", "use_internal_ips", "use_external_head_ip"),
    *("security_group", "profile"),
)
_UNUSED = ("cache_stopped_nodes", "key_pair", "cloudwatch", "aws_credentials")
# What of it is about the user's own credentials.
_USERS = ("profile", "aws_credentials")
_CONSOLE_LINES = 20


class AwsProvider:
    """Implements `machines.MachineProvider` for one cluster.

    Args:
        cluster: its name.
        options: `provider` of its file.
        api: EC2.
        now: seconds, of any clock.
    """

    def __init__(
        self,
        cluster: str,
        options: Mapping[str, object],
        api: Api,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._options = options
        self._api = api
        self._zones = zones_of(options)
        self._cold: Cold[Try] = Cold(now)
        self._images: dict[str, str] = {}
        self._groups: dict[str, str] = {}
        self._public_key = ""
        self._public_keys: Sequence[str] = ()

    # -- MachineProvider -------------------------------------------------------------------------
    def prepare(self, public_key: str, user: str) -> None:
        """The key pair now; a group when a type first needs it, since it says in which network."""
        self._public_key = public_key
        with _Doing("ec2:ImportKeyPair"):
            network.make_key(self._api, self._cluster, public_key)

    def let_in(self, public_keys: Sequence[str]) -> None:
        """By their user data: an instance has one key pair."""
        self._public_keys = public_keys

    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        """Those that EC2 shows under these names are there, or were."""
        known = {of_tags(each.get("Tags")).get(MACHINE) for each in self._described()}
        for name in names:
            if name not in known:
                self._run(node_type, name)

    def cancel(self, names: Sequence[str]) -> None:
        """What is pending at EC2 is so for seconds."""
        self._end(x for x in self._named(names) if x["State"]["Name"] == "pending")

    def list(self) -> Sequence[Rented]:
        """One DescribeInstances."""
        return [instances.machine(each, self._options) for each in self._described()]

    def release(self, names: Sequence[str]) -> None:
        """Terminate."""
        self._end(self._named(names))

    def explain(self, name: str) -> str:
        """EC2's words, and what a machine that runs has printed on its console."""
        found = self._named([name])
        if not found:
            return f"EC2 knows no instance for {name} (any more)"
        said = instances.reason(found[0])
        if found[0]["State"]["Name"] != "running":
            return f"{found[0]['InstanceId']} is {said}"
        with _Doing("ec2:GetConsoleOutput"):
            told = self._api.call("get_console_output", InstanceId=found[0]["InstanceId"])
        lines = str(told.get("Output", "")).splitlines()[-_CONSOLE_LINES:]
        return "\n".join([f"{found[0]['InstanceId']} is running; its console:", *lines])

    def dissolve(self) -> Sequence[str]:
        """The group stays in use until its last machine has gone."""
        with _Doing("ec2:DeleteSecurityGroup"):
            return network.remove(self._api, self._cluster)

    def renew(self, until: float | None) -> None:
        """A tag."""
        there = [x["InstanceId"] for x in self._described() if instances.is_there(x)]
        if there and until is None:
            with _Doing("ec2:DeleteTags"):
                self._api.call("delete_tags", Resources=there, Tags=[{"Key": LEASE}])
        elif there:
            tags = request.as_tags({LEASE: f"{until:.0f}"})
            with _Doing("ec2:CreateTags"):
                self._api.call("create_tags", Resources=there, Tags=tags)

    # -- asking ----------------------------------------------------------------------------------
    def _run(self, kind: NodeType, name: str) -> None:
        """In each zone in turn, those that had no room lately last."""
        make = partial(self._run_at, kind, name)
        make_somewhere("EC2", request.tries(kind, self._zones), self._cold, make)

    def _run_at(self, kind: NodeType, name: str, at: Try) -> None:
        around = self._surroundings(kind, at.kind)
        for life in range(_LIVES):
            words = request.parameters(self._cluster, kind, name, at, around, life)
            try:
                self._api.call("run_instances", **words)
                return
            except ApiError as error:
                if error.code != "IdempotentInstanceTerminated" or life + 1 == _LIVES:
                    raise answers.why_not_there(error) from None

    def _surroundings(self, kind: NodeType, instance_type: str) -> Surroundings:
        image = "" if "ImageId" in kind.options else self._image(instance_type)
        groups = []
        if not {"SecurityGroupIds", "SecurityGroups", "NetworkInterfaces"} & set(kind.options):
            groups = [self._group(kind)]
        key = network.key_name(self._cluster, self._public_key)
        return Surroundings(image, key, groups, owner(), self._public_keys)

    def _image(self, instance_type: str) -> str:
        name = _IMAGE.format(request.architecture(instance_type))
        if name not in self._images:
            with _Doing("ssm:GetParameter"):
                self._images[name] = self._api.parameter(name)
        return self._images[name]

    def _group(self, kind: NodeType) -> str:
        if kind.name not in self._groups:
            own = self._options.get("security_group")
            more = own.get("IpPermissions", []) if isinstance(own, Mapping) else []
            with _Doing("ec2:CreateSecurityGroup"):
                self._groups[kind.name] = network.make_group(self._api, self._cluster, kind, more)
        return self._groups[kind.name]

    # -- what is there ---------------------------------------------------------------------------
    def _described(self) -> Sequence[dict[str, Any]]:
        filters = [{"Name": f"tag:{CLUSTER}", "Values": [self._cluster]}]
        with _Doing("ec2:DescribeInstances"):
            return described(self._api, filters)

    def _named(self, names: Sequence[str]) -> Sequence[dict[str, Any]]:
        wanted = set(names)
        return [x for x in self._described() if of_tags(x.get("Tags")).get(MACHINE) in wanted]

    def _end(self, found: Iterable[Mapping[str, Any]]) -> None:
        ids = [each["InstanceId"] for each in found if instances.is_there(each)]
        if ids:
            with _Doing("ec2:TerminateInstances"):
                self._api.call("terminate_instances", InstanceIds=ids)


def described(api: Api, filters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All instances that a filter lets through, page by page.  Raises ApiError."""
    found: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        page = api.call("describe_instances", Filters=filters, **more)
        found += [x for group in page["Reservations"] for x in group["Instances"]]
        if not page.get("NextToken"):
            return found
        more = {"NextToken": page["NextToken"]}


class AwsKind(MachineKind):
    """The provider `aws`."""

    name = "aws"
    title = "Amazon EC2"
    user = "ubuntu"
    knows_keys = True
    role_option = "IamInstanceProfile"
    look_seconds = 5.0

    def rent(
        self, cluster: str, options: Mapping[str, object], types: Sequence[NodeType]
    ) -> MachineProvider:
        """For one cluster."""
        refuse_unknown(self.name, options, _USED, _UNUSED)
        for kind in types:
            request.check(kind)
        return AwsProvider(cluster, options, _api(options))

    def options_there(self, options: Mapping[str, object]) -> dict[str, object]:
        """No profile of the user's is there, nor the region that `aws configure` has."""
        kept = {key: options[key] for key in options if key not in _USERS}
        kept["region"] = options.get("region") or _api(options).region()
        return kept

    def watched(self, options: Mapping[str, object]) -> Sequence[Watched]:
        """By the tag that all of them have."""
        with _Doing("ec2:DescribeInstances"):
            found = described(_api(options), [{"Name": "tag-key", "Values": [CLUSTER]}])
        return [instances.watched(each) for each in found if instances.is_there(each)]

    def end(self, options: Mapping[str, object], identities: Sequence[str]) -> None:
        """Terminate."""
        with _Doing("ec2:TerminateInstances"):
            _api(options).call("terminate_instances", InstanceIds=list(identities))


def _api(options: Mapping[str, object]) -> Boto:
    region, profile = options.get("region"), options.get("profile")
    return Boto(str(region) if region else None, str(profile) if profile else None)


class _Doing:
    """What is being done, for the sentence about its failure."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ApiError):
            raise answers.in_words(error, self._what) from None


PROVIDER = AwsKind()
