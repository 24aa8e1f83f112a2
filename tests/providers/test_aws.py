"""What the provider asks of EC2, and what it makes of its answers; EC2 itself is a fake here."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import yaml

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.providers import registry
from rayhpc.providers.aws import answers
from rayhpc.providers.aws import provider as module
from rayhpc.providers.aws.api import ApiError
from rayhpc.providers.aws.provider import AwsProvider
from rayhpc.providers.aws.request import MOST_BYTES, architecture
from rayhpc.providers.base import CapacityError, ProviderError, RefusedError
from rayhpc.providers.cloud_init import user_data
from rayhpc.providers.machines import MachineKind, print_of
from tests.providers.fake_ec2 import FakeEc2

OPTIONS = {"type": "aws", "region": "us-west-2", "availability_zone": "us-west-2a, us-west-2b"}
WORKER = NodeType("w", max_nodes=4, options={"InstanceType": "m5.large"})
KEY = "ssh-ed25519 AAAA me"


def made(
    api: FakeEc2, options: dict[str, Any] = OPTIONS, clock: list[float] | None = None
) -> AwsProvider:
    """A provider that is ready."""
    ticks = clock if clock is not None else [0.0]
    provider = AwsProvider("c", options, api, lambda: ticks[0])
    provider.prepare(KEY, "ubuntu")
    return provider


def test_other_keys_are_let_in_besides() -> None:
    api = FakeEc2()
    provider = made(api)
    provider.let_in(["ssh-ed25519 BBBB head"])
    provider.ask(NodeType("w"), ["w-1"])
    (words,) = api.of("run_instances")
    assert yaml.safe_load(words["UserData"])["ssh_authorized_keys"] == ["ssh-ed25519 BBBB head"]
    assert words["KeyName"] == api.of("import_key_pair")[0]["KeyName"]


def test_a_machine_has_all_that_makes_it_end_and_be_found_again() -> None:
    api = FakeEc2()
    config = {"InstanceType": "m6g.large", "EbsOptimized": True, "TagSpecifications": [
        {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "mine"}]}
    ]}  # fmt: skip
    kind = NodeType("w", options=config)
    made(api).ask(kind, ["w-1"])
    (words,) = api.of("run_instances")
    assert words["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert (words["MinCount"], words["MaxCount"], words["EbsOptimized"]) == (1, 1, True)
    assert words["ImageId"] == "ami-arm64"
    assert words["Placement"] == {"AvailabilityZone": "us-west-2a"}
    assert words["SecurityGroupIds"] == ["sg-1"]
    assert words["KeyName"] == api.of("import_key_pair")[0]["KeyName"]
    assert len(words["ClientToken"]) == 64
    for resource in words["TagSpecifications"]:
        tags = {x["Key"]: x["Value"] for x in resource["Tags"]}
        assert tags["rayhpc-cluster"] == "c"
        assert (tags["rayhpc-machine"], tags["rayhpc-node-type"]) == ("w-1", "w")
        assert tags["rayhpc-made-of"] == print_of(kind)
    assert {x["Key"]: x["Value"] for x in words["TagSpecifications"][0]["Tags"]}["Name"] == "mine"
    (rule, inner) = [x["IpPermissions"][0] for x in api.of("authorize_security_group_ingress")]
    assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
    assert inner["UserIdGroupPairs"] == [{"GroupId": "sg-1"}]


def test_a_lost_reply_is_asked_for_again_and_there_is_one_machine() -> None:
    api = FakeEc2()
    api.lose = 1
    provider = made(api)
    with pytest.raises(ProviderError, match="no answer to rely on") as caught:
        provider.ask(WORKER, ["w-1"])
    assert type(caught.value) is ProviderError
    # It may not be visible yet; then EC2 knows the request by its token, also from another process.
    api.hidden = set(api.instances)
    made(api).ask(WORKER, ["w-1"])
    assert len(api.instances) == 1
    # Once it can be seen, nothing is asked; nor when it has ended.
    api.hidden = set()
    provider.ask(WORKER, ["w-1"])
    provider.release(["w-1"])
    provider.ask(WORKER, ["w-1", "w-2"])
    assert len(api.of("run_instances")) == 3
    assert [x.name for x in provider.list()] == ["w-1", "w-2"]


def test_a_name_is_given_again_once_the_machine_that_had_it_is_forgotten() -> None:
    api = FakeEc2()
    provider = made(api)
    for number in range(1, 4):
        provider.ask(WORKER, ["w-1"])
        assert len(api.instances) == number
        provider.release(["w-1"])
        api.hidden = set(api.instances)
    # A lost answer is found again then, too.
    api.lose = 1
    with pytest.raises(ProviderError, match="no answer"):
        provider.ask(WORKER, ["w-1"])
    provider.ask(WORKER, ["w-1"])
    assert len(api.instances) == 4


def test_types_and_zones_are_tried_in_turn_and_full_ones_last_for_a_while() -> None:
    api, clock = FakeEc2(), [0.0]
    provider = made(api, clock=clock)
    kind = NodeType("w", options={"InstanceType": ["m5.large", "m5a.large"]})
    api.full = {"us-west-2a"}
    provider.ask(kind, ["w-1"])
    provider.ask(kind, ["w-2"])

    def where() -> list[tuple[str, str]]:
        words = api.of("run_instances")
        return [(x["InstanceType"], x["Placement"]["AvailabilityZone"]) for x in words]

    assert where() == [("m5.large", "us-west-2a"), *[("m5.large", "us-west-2b")] * 2]
    clock[0] = 601.0
    api.full = {"us-west-2a", "us-west-2b"}
    with pytest.raises(CapacityError) as caught:
        provider.ask(kind, ["w-3"])
    assert str(caught.value) == (
        "EC2 has none now: m5.large in us-west-2a (InsufficientInstanceCapacity), "
        "m5.large in us-west-2b (InsufficientInstanceCapacity), "
        "m5a.large in us-west-2a (InsufficientInstanceCapacity), "
        "m5a.large in us-west-2b (InsufficientInstanceCapacity)"
    )
    assert len(where()) == 7
    # A limit of that type's is the region's: the next type is tried.
    api.full = set()
    clock[0] = 1300.0
    api.refuse = {"run_instances": "VcpuLimitExceeded"}
    provider.ask(kind, ["w-3"])
    assert where()[7:] == [("m5.large", "us-west-2a"), ("m5a.large", "us-west-2a")]


def test_subnets_of_the_files_own_are_used_instead_of_zones() -> None:
    api = FakeEc2()
    api.full = {"subnet-1"}
    config = {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-9"], "KeyName": "k"}
    made(api).ask(NodeType("w", options=config), ["w-1"])
    words = api.of("run_instances")[1]
    assert (words["SubnetId"], words["SecurityGroupIds"], words["KeyName"]) == (
        "subnet-2",
        ["sg-9"],
        "k",
    )
    assert "SubnetIds" not in words
    assert "Placement" not in words
    assert not api.of("create_security_group")


REFUSALS = {
    "UnauthorizedOperation": (RefusedError, "no permission for ec2:RunInstances"),
    "NoCredentials": (RefusedError, "run `aws configure`"),
    "InvalidAMIID.NotFound": (RefusedError, "images differ from region to region"),
    "VPCIdNotSpecified": (RefusedError, "give SubnetIds in node_config"),
    "VcpuLimitExceeded": (CapacityError, "the account's limit of vCPUs"),
    "RequestLimitExceeded": (ProviderError, "no answer to rely on"),
    "InvalidKeyPair.NotFound": (ProviderError, "no answer to rely on"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_told_by_what_can_be_done_about_it(code: str) -> None:
    kind, sentence = REFUSALS[code]
    api = FakeEc2()
    provider = made(api)
    api.refuse = {"run_instances": code}
    with pytest.raises(ProviderError, match=sentence) as caught:
        provider.ask(WORKER, ["w-1"])
    assert type(caught.value) is kind
    assert not api.instances


def test_a_missing_region_is_not_taken_for_missing_credentials() -> None:
    said = str(answers.in_words(ApiError("NoRegion", ""), "ec2:DescribeInstances"))
    assert "no region of AWS is chosen" in said
    assert "credentials" not in said


def test_machines_are_shown_as_ec2_has_them_and_ended_by_name() -> None:
    api = FakeEc2()
    provider = made(api)
    provider.ask(WORKER, ["w-1", "w-2", "w-3"])
    api.instances["i-2"]["State"] = {"Name": "running"}
    provider.cancel(["w-2", "w-3"])
    states = [(x.name, x.state, x.reason) for x in provider.list()]
    ended = "terminated: Client.UserInitiatedShutdown"
    assert states == [
        ("w-1", MachineState.PENDING, None),
        ("w-2", MachineState.RUNNING, None),
        ("w-3", MachineState.ENDED, ended),
    ]
    seen = provider.list()[1]
    assert (seen.address, seen.login, seen.identity) == ("10.0.0.2", "192.0.2.2", "i-2")
    internal = made(api, {**OPTIONS, "use_internal_ips": True}).list()[1]
    assert internal.login == "10.0.0.2"
    assert provider.explain("w-3") == f"i-3 is {ended}"
    assert provider.explain("w-9") == "EC2 knows no instance for w-9 (any more)"
    provider.renew(1e9)
    assert api.of("create_tags")[0]["Resources"] == ["i-1", "i-2"]
    provider.renew(None)
    assert api.of("delete_tags")[0]["Tags"] == [{"Key": "rayhpc-lease"}]
    assert provider.dissolve() == []
    assert api.of("delete_key_pair") == [{"KeyName": "rayhpc-c-1"}]
    assert api.of("delete_security_group") == [{"GroupId": "sg-1"}]


def test_what_nobody_looks_after_any_more_is_told_from_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = FakeEc2()
    monkeypatch.setattr(module, "_api", lambda _: api)
    made(api).ask(WORKER, ["w-1", "w-2", "w-3"])
    api.instances["i-1"]["Tags"] += [{"Key": "rayhpc-lease", "Value": "1000"}]
    api.instances["i-2"]["Tags"] += [{"Key": "rayhpc-lease", "Value": "9000"}]
    kind = registry.provider("aws")
    assert isinstance(kind, MachineKind)
    found = kind.watched(OPTIONS)
    assert [(x.cluster, x.name, x.identity) for x in found] == [
        ("c", "w-1", "i-1"),
        ("c", "w-2", "i-2"),
        ("c", "w-3", "i-3"),
    ]
    assert [each.is_stale(4000.0) for each in found] == [True, False, False]
    assert found[0].say(4000.0) == "nobody has looked after it for 50 minutes"
    assert found[2].say(4000.0) == "ends itself when no node runs there"
    kind.end(OPTIONS, ["i-1"])
    assert [x.identity for x in kind.watched(OPTIONS)] == ["i-2", "i-3"]


def test_a_group_in_use_is_said_and_left() -> None:
    api = FakeEc2()
    provider = made(api)
    provider.ask(WORKER, ["w-1"])
    api.refuse = {"delete_security_group": "DependencyViolation"}
    assert provider.dissolve() == ["security group sg-1"]


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "there is no 'regio'": ({"type": "aws", "regio": "x"}, {}),
    "ClientToken is set by rayhpc itself": (OPTIONS, {"ClientToken": "x"}),
    "longer than EC2's 16384 bytes": (OPTIONS, {"UserData": "#!/bin/sh\n" + "x" * MOST_BYTES}),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_wrong_options_are_named(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_api", lambda _: FakeEc2())
    options, config = WRONG[sentence]
    kind = registry.provider("aws")
    assert isinstance(kind, MachineKind)
    with pytest.raises(OptionError, match=sentence):
        kind.rent("c", options, [NodeType("w", options=config)])


def test_without_boto3_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    kind = registry.provider("aws")
    assert isinstance(kind, MachineKind)
    with pytest.raises(OptionError, match=r"needs boto3 .*pip install 'rayhpc\[aws\]'"):
        kind.rent("c", OPTIONS, [])


def test_a_head_with_a_role_gets_nothing_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed")
    kind = registry.provider("aws")
    assert isinstance(kind, MachineKind)
    profile = {"IamInstanceProfile": {"Name": "grows"}}
    assert kind.has_role(NodeType("head", options=profile))
    assert not kind.has_role(NodeType("head", options={"InstanceType": "m5.large"}))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    there = kind.options_there({"type": "aws", "aws_credentials": {"aws_access_key_id": "mine"}})
    assert there == {"type": "aws", "region": "eu-north-1"}
    told = {"type": "aws", "region": "us-west-2", "use_internal_ips": True}
    assert kind.options_there(told) == told


def test_processors_are_known_by_the_types_name() -> None:
    arm = ("a1.large", "m6g.large", "c7gn.xlarge", "im4gn.large", "t4g.nano", "g5g.xlarge")
    assert {architecture(each) for each in arm} == {"arm64"}
    others = ("m5.large", "g4dn.xlarge", "p4d.24xlarge", "g6.12xlarge", "u7i-12tb.224xlarge")
    assert {architecture(each) for each in others} == {"amd64"}


def test_user_data_holds_the_timer_and_what_the_user_has() -> None:
    (command,) = yaml.safe_load(user_data("c"))["bootcmd"]
    keys = yaml.safe_load(user_data("c", public_keys=["ssh-ed25519 AAAA the head's"]))
    assert keys["ssh_authorized_keys"] == ["ssh-ed25519 AAAA the head's"]
    assert command[:4] == ["setsid", "-f", "sh", "-c"]
    assert "shutdown -h now" in command[4]
    both = user_data("c", "#!/bin/sh\necho mine\n")
    assert both.startswith("Content-Type: multipart/mixed")
    assert "text/cloud-config" in both
    assert "text/x-shellscript" in both
    assert "echo mine" in both
