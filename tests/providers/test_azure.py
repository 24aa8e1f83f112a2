"""What the provider asks of Azure, over HTTP, and what it makes of the answers."""

from __future__ import annotations

import base64
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arm.lab.engine import Faults
from arm.lab.environ import environ_of
from arm.lab.http_api import SUBSCRIPTION, TOKEN, FakeArm
from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.providers import registry
from rayhpc.providers.azure import provider as module
from rayhpc.providers.azure import request
from rayhpc.providers.azure.api import Arm
from rayhpc.providers.azure.provider import AzureProvider
from rayhpc.providers.base import CapacityError, ProviderError, RefusedError
from rayhpc.providers.cloud_names import name_at
from rayhpc.providers.machines import MachineKind, print_of
from rayhpc.providers.rest import ApiError, send
from ssh.lab.fake_api import FakeApi, Reply, Request

OPTIONS: dict[str, object] = {
    "type": "azure",
    "location": "westus2",
    "resource_group": "ours",
    "availability_zone": "1,2",
}
KEY = "ssh-ed25519 AAAA me"
WRITE = "Microsoft.Compute/virtualMachines/write"


def worker(**words: object) -> NodeType:
    """A type of Ray's shape."""
    told = {"vmSize": "Standard_D2s_v3", **words}
    return NodeType("ray.worker", max_nodes=4, options={"azure_arm_parameters": told})


class Somebody:
    """Credentials that the fake takes."""

    def subscription(self) -> str | None:
        return SUBSCRIPTION

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def arm() -> Iterator[FakeArm]:
    with FakeArm() as fake:
        yield fake


def api(arm: FakeArm, pauses: list[float] | None = None) -> Arm:
    waited: list[float] = [] if pauses is None else pauses
    return Arm(None, Somebody(), arm.root, waited.append)


def made(
    arm: FakeArm, options: dict[str, object] = OPTIONS, clock: list[float] | None = None
) -> AzureProvider:
    """A provider that is ready."""
    ticks = clock if clock is not None else [0.0]
    provider = AzureProvider("My.c", options, api(arm), lambda: ticks[0])
    provider.prepare(KEY, "ubuntu")
    return provider


def machines(arm: FakeArm) -> list[dict[str, Any]]:
    return arm.engine.some("virtualMachines", None)


def tried(arm: FakeArm) -> list[tuple[str, str]]:
    """The size and zone of each request for a machine."""
    return [
        (body["properties"]["hardwareProfile"]["vmSize"], body.get("zones", [""])[0])
        for body, _ in arm.inserted
    ]


def test_other_keys_are_let_in_besides(arm: FakeArm) -> None:
    provider = made(arm)
    provider.let_in(["ssh-ed25519 BBBB head"])
    provider.ask(worker(), ["w-1"])
    system = arm.inserted[0][0]["properties"]["osProfile"]["linuxConfiguration"]
    keys = [each["keyData"] for each in system["ssh"]["publicKeys"]]
    assert keys == [KEY, "ssh-ed25519 BBBB head"]


def test_a_machine_has_all_that_makes_it_end_and_be_found_again(arm: FakeArm) -> None:
    kind = worker(
        vmSize="Standard_D2ps_v5", priority="Spot", osDiskSizeGB=100, vmTags={"mine": "yes"}
    )
    made(arm).ask(kind, ["w-1"])
    ((body, beside),) = arm.inserted
    assert beside == {"name": name_at("My.c", "w-1"), "new": "*"}
    properties = body["properties"]
    assert (properties["priority"], properties["evictionPolicy"]) == ("Spot", "Delete")
    storage = properties["storageProfile"]
    assert storage["imageReference"]["sku"] == "server-arm64"
    assert storage["osDisk"] == {
        "createOption": "FromImage",
        "deleteOption": "Delete",
        "managedDisk": {"storageAccountType": "StandardSSD_LRS"},
        "diskSizeGB": 100,
    }
    (interface,) = properties["networkProfile"]["networkInterfaceConfigurations"]
    inside = interface["properties"]["ipConfigurations"][0]["properties"]
    outside = inside["publicIPAddressConfiguration"]["properties"]
    assert interface["properties"]["deleteOption"] == outside["deleteOption"] == "Delete"
    system = properties["osProfile"]
    assert system["linuxConfiguration"]["ssh"]["publicKeys"][0]["keyData"] == KEY
    assert "shutdown -h now" in base64.b64decode(system["customData"]).decode()
    assert (body["tags"]["mine"], body["tags"]["rayhpc-cluster"]) == ("yes", "My.c")
    (machine,) = made(arm).list()
    assert (machine.name, machine.node_type) == ("w-1", "ray.worker")
    assert machine.made_of == print_of(kind)
    assert machine.state is MachineState.RUNNING
    assert str(machine.address).startswith("10.84.")
    assert str(machine.login).startswith("203.0.113.")


def test_rays_own_images_and_machines_without_an_address_outside(arm: FakeArm) -> None:
    image = {"imagePublisher": "microsoft-dsvm", "imageOffer": "u", "imageSku": "gen2"}
    provider = made(arm, {**OPTIONS, "use_internal_ips": True})
    provider.ask(worker(**image), ["w-1"])
    ((body, _),) = arm.inserted
    told = body["properties"]["storageProfile"]["imageReference"]
    assert told == {
        "publisher": "microsoft-dsvm",
        "offer": "u",
        "sku": "gen2",
        "version": "latest",
    }
    (machine,) = provider.list()
    assert machine.login == machine.address
    assert arm.engine.some("publicIPAddresses", None) == []


def test_the_head_alone_may_have_an_address_outside(arm: FakeArm) -> None:
    provider = made(arm, {**OPTIONS, "use_internal_ips": True, "use_external_head_ip": True})
    for name in ("head-1", "w-1"):
        provider.ask(worker(), [name])
    head, other = provider.list()
    assert head.login not in (None, head.address)
    assert other.login == other.address
    interfaces = [str(body["properties"]["networkProfile"]) for body, _ in arm.inserted]
    assert ["publicIPAddressConfiguration" in each for each in interfaces] == [True, False]


def test_a_lost_reply_is_asked_for_again_and_there_is_one_machine(arm: FakeArm) -> None:
    arm.engine.faults = Faults(lose=1)
    provider = made(arm)
    with pytest.raises(ProviderError, match="no answer to rely on") as caught:
        provider.ask(worker(), ["w-1"])
    assert type(caught.value) is ProviderError
    provider.ask(worker(), ["w-1"])
    assert len(arm.inserted) == len(machines(arm)) == 1
    # Another process that has not seen it yet asks for the same name, of which there is one.
    other = made(arm)
    around = other._surroundings(worker())
    other._put(worker(), "w-1", request.Try("Standard_D2s_v3", "1"), around)
    assert [x[1] for x in arm.calls if x[0] == WRITE] == [201, 412]
    assert len(machines(arm)) == 1


def test_zones_are_tried_in_turn_and_full_ones_last_for_a_while(arm: FakeArm) -> None:
    clock = [0.0]
    provider = made(arm, clock=clock)
    arm.engine.faults.full = ["1"]
    provider.ask(worker(), ["w-1"])
    provider.ask(worker(), ["w-2"])
    assert [zone for _, zone in tried(arm)] == ["1", "2", "2"]
    # What had no room is not left in Azure's list.
    assert [each["zones"] for each in machines(arm)] == [["2"], ["2"]]
    clock[0] = 601.0
    arm.engine.faults = Faults(unsold=["Standard_D2s_v3"])
    with pytest.raises(CapacityError) as caught:
        provider.ask(worker(), ["w-3"])
    assert str(caught.value) == (
        "Azure has none now: Standard_D2s_v3 in zone 1 (SkuNotAvailable), "
        "Standard_D2s_v3 in zone 2 (SkuNotAvailable)"
    )
    provider.ask(worker(vmSize=["Standard_D2s_v3", "Standard_D4s_v5"]), ["w-4"])
    assert tried(arm)[-1] == ("Standard_D4s_v5", "1")
    assert {x.name for x in provider.list()} == {"w-1", "w-2", "w-4"}


def test_one_that_fails_later_is_seen_with_azures_reason(
    arm: FakeArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = made(arm, {**OPTIONS, "availability_zone": ""})
    arm.engine.faults.full = ["Standard_D2s_v3"]
    monkeypatch.setattr(module, "_REFUSED_S", 0.0)
    provider.ask(worker(), ["w-1"])
    (machine,) = provider.list()
    assert machine.state is MachineState.ENDED
    assert str(machine.reason).startswith("failed: AllocationFailed: We do not have sufficient")
    assert provider.explain("w-1").endswith(str(machine.reason))
    arm.engine.faults = Faults()
    provider.ask(worker(vmSize=["Standard_D2s_v3", "Standard_D4s_v5"]), ["w-2"])
    assert tried(arm)[-1] == ("Standard_D4s_v5", "")


def test_a_used_up_quota_has_another_size_tried_and_no_other_zone(arm: FakeArm) -> None:
    provider = made(arm)
    arm.engine.faults = Faults(spent=["Standard_D2s_v3"])
    both = worker(vmSize=["Standard_D2s_v3", "Standard_D4s_v5"])
    provider.ask(both, ["w-1"])
    assert tried(arm) == [("Standard_D2s_v3", "1"), ("Standard_D4s_v5", "1")]
    arm.engine.faults = Faults(spent=["Standard_D2s_v3"], unsold=["Standard_D4s_v5"])
    with pytest.raises(CapacityError) as caught:
        provider.ask(both, ["w-2"])
    assert str(caught.value) == (
        "Azure has none now: Standard_D2s_v3 (its quota is used up), "
        "Standard_D4s_v5 in zone 1 (SkuNotAvailable), Standard_D4s_v5 in zone 2 (SkuNotAvailable)"
    )


def test_machines_are_asked_for_side_by_side(arm: FakeArm) -> None:
    """Each waits for the others to be accepted, too."""
    first = made(arm)
    first.ask(worker(), ["w-1"])
    subnet = first._surroundings(worker()).subnet
    accepted = threading.Barrier(3)

    def wait(_: float) -> None:
        accepted.wait(10)

    provider = AzureProvider("My.c", OPTIONS, Arm(None, Somebody(), arm.root, wait))
    provider.prepare(KEY, "ubuntu")
    provider.ask(worker(subnet=subnet), ["w-1", "w-2", "w-3", "w-4"])
    assert sorted(x.name for x in first.list()) == ["w-1", "w-2", "w-3", "w-4"]


def test_rights_on_the_resource_group_alone_are_enough(arm: FakeArm) -> None:
    arm.engine.put_group("ours", {"location": "westus2"})
    arm.engine.faults = Faults(only_groups=True)
    provider = made(arm)
    for name in ("w-1", "w-2"):
        provider.ask(worker(), [name])
    assert [x.state for x in provider.list()] == [MachineState.RUNNING] * 2
    arm.engine.stop(machines(arm)[1]["properties"]["vmId"])
    assert [x.state for x in provider.list()] == [MachineState.RUNNING, MachineState.ENDED]
    seen = [code for name, code in arm.calls if name == "Microsoft.Compute/virtualMachines/read"]
    assert 403 in seen


def test_machines_of_a_resource_group_are_swept_with_rights_on_that_alone(
    arm: FakeArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_api", lambda _: api(arm))
    arm.engine.put_group("ours", {"location": "westus2"})
    arm.engine.faults = Faults(only_groups=True)
    made(arm).ask(worker(), ["w-1"])
    kind = registry.provider("azure")
    assert isinstance(kind, MachineKind)
    with pytest.raises(ProviderError, match="no permission for Microsoft.Compute"):
        kind.watched({"type": "azure"})
    assert list(kind.watched({**OPTIONS, "resource_group": "another"})) == []
    (found,) = kind.watched(OPTIONS)
    assert found.name == "w-1"
    kind.end(OPTIONS, [found.identity])
    assert list(kind.watched(OPTIONS)) == []


def test_a_type_has_zones_of_its_own_and_azure_may_choose(arm: FakeArm) -> None:
    provider = made(arm, {**OPTIONS, "availability_zone": "auto", "tags": {"bill": "us"}})
    assert arm.engine.groups["ours"]["tags"] == {"bill": "us", "rayhpc-cluster": "My.c"}
    provider.ask(worker(), ["w-1"])
    provider.ask(worker(availability_zone="None"), ["w-2"])
    words = {"availability_zone": "3, 2", "osDiskSize": 90, "enableAcceleratedNetworking": True}
    kind = worker(**words)
    provider.ask(NodeType("w", options={**kind.options, "tags": {"mine": "yes"}}), ["w-3"])
    assert [zone for _, zone in tried(arm)] == ["", "", "3"]
    body, _ = arm.inserted[-1]
    (interface,) = body["properties"]["networkProfile"]["networkInterfaceConfigurations"]
    assert interface["properties"]["enableAcceleratedNetworking"] is True
    assert body["properties"]["storageProfile"]["osDisk"]["diskSizeGB"] == 90
    assert body["tags"]["mine"] == "yes"
    assert "bill" not in body["tags"]


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], type[ProviderError]]] = {
    f"no permission for {WRITE}: The client 'me'": ({"deny": [WRITE]}, {}, RefusedError),
    "subscription's quota is used up .OperationNotAllowed: Op": ({"quota": 0}, {}, CapacityError),
    "`az vm list-skus": ({}, {"vmSize": "Large"}, RefusedError),
    "leave the image out for Ubuntu's": ({}, {"imagePublisher": "nobody"}, RefusedError),
}


@pytest.mark.parametrize("sentence", REFUSALS)
def test_a_refusal_is_told_by_what_can_be_done_about_it(arm: FakeArm, sentence: str) -> None:
    faults, words, kind = REFUSALS[sentence]
    provider = made(arm)
    arm.engine.faults = Faults(**faults)
    with pytest.raises(ProviderError, match=sentence) as caught:
        provider.ask(worker(**words), ["w-1"])
    assert type(caught.value) is kind
    assert machines(arm) == []


def test_one_call_too_many_is_made_again_when_azure_says_so(arm: FakeArm) -> None:
    made(arm).ask(worker(), ["w-1"])
    pauses: list[float] = []
    provider = AzureProvider("My.c", OPTIONS, api(arm, pauses))
    arm.engine.faults = Faults(throttle=2)
    assert len(provider.list()) == 1
    assert pauses == [7.0, 7.0]
    arm.engine.faults = Faults(throttle=9)
    with pytest.raises(ProviderError, match=r"no answer to rely on \(TooManyRequests") as caught:
        provider.list()
    assert type(caught.value) is ProviderError


def test_machines_are_ended_by_name_and_nothing_is_left(arm: FakeArm) -> None:
    provider = made(arm)
    for name in ("w-1", "w-2", "w-3"):
        provider.ask(worker(), [name])
    provider.renew(1e9)
    assert {x["tags"]["rayhpc-lease"] for x in machines(arm)} == {"1000000000"}
    provider.renew(None)
    assert not any("rayhpc-lease" in x["tags"] for x in machines(arm))
    provider.cancel(["w-1"])  # it runs
    provider.release(["w-2"])
    assert [x.name for x in provider.list()] == ["w-1", "w-3"]
    assert provider.explain("w-1").endswith("is running")
    assert provider.explain("w-2") == "Azure knows no virtual machine for w-2 (any more)"
    # One that has switched itself off has ended, but is on the bill until it is deleted.
    arm.engine.stop(machines(arm)[1]["properties"]["vmId"])
    stopped = provider.list()[1]
    assert (stopped.name, stopped.state) == ("w-3", MachineState.ENDED)
    assert str(stopped.reason).endswith("switched itself off, or Azure has taken it back")
    provider.renew(2e9)
    assert [x.name for x in provider.list()] == ["w-1"]
    name = name_at("My.c", "w-1")
    assert provider.dissolve() == [f"virtual machine {name} (succeeded)"]
    assert provider.dissolve() == []
    assert (arm.engine.resources, arm.engine.groups) == ({}, {})


def test_a_group_of_somebody_elses_stays(arm: FakeArm) -> None:
    arm.engine.put_group("ours", {"location": "westus2"})
    provider = made(arm)
    provider.ask(worker(), ["w-1"])
    while provider.dissolve():
        pass
    assert (arm.engine.resources, list(arm.engine.groups)) == ({}, ["ours"])


def test_what_nobody_looks_after_any_more_is_told_from_the_rest(
    arm: FakeArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_api", lambda _: api(arm))
    provider = made(arm)
    for name in ("w-1", "w-2"):
        provider.ask(worker(), [name])
    provider.renew(1000.0)
    provider.ask(worker(), ["w-3"])
    first, second, third = (x["properties"]["vmId"] for x in machines(arm))
    arm.engine.stop(third)
    kind = registry.provider("azure")
    assert isinstance(kind, MachineKind)
    found = kind.watched({"type": "azure", "region": "westus2"})
    assert [(x.cluster, x.name, x.identity) for x in found] == [
        ("My.c", "w-1", first),
        ("My.c", "w-2", second),
        ("My.c", "w-3", third),
    ]
    # One that has switched itself off is on the bill.
    assert [x.is_stale(999.0) for x in found] == [False, False, True]
    assert [x.is_stale(4e9) for x in found] == [True, True, True]
    assert list(kind.watched({"type": "azure", "region": "northeurope"})) == []
    kind.end(OPTIONS, [first, third])
    assert [x.identity for x in kind.watched(OPTIONS)] == [second]


WRONG: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "there is no 'regio'": ({**OPTIONS, "regio": "x"}, {}),
    "needs a location": ({"type": "azure"}, {}),
    "there is no 'vmSise' .* did you mean 'vmSize'": (
        OPTIONS,
        {"azure_arm_parameters": {"vmSise": "x"}},
    ),
    "vmName is set by rayhpc itself": (OPTIONS, {"azure_arm_parameters": {"vmName": "x"}}),
    "there is no 'InstanceType' in node_config": (OPTIONS, {"InstanceType": "m5.large"}),
    "customData is longer than Azure's 65535 bytes": (
        OPTIONS,
        {"azure_arm_parameters": {"customData": "#!/bin/sh\n" + "x" * 65535}},
    ),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_wrong_options_are_named(sentence: str) -> None:
    options, config = WRONG[sentence]
    kind = registry.provider("azure")
    assert isinstance(kind, MachineKind)
    with pytest.raises(OptionError, match=sentence):
        kind.rent("c", options, [NodeType("w", options=config)])


def test_without_azure_identity_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    kind = registry.provider("azure")
    assert isinstance(kind, MachineKind)
    with pytest.raises(OptionError, match=r"needs azure-identity .*pip install 'rayhpc\[azure\]'"):
        kind.rent("c", OPTIONS, [])


def test_the_token_goes_nowhere_else(arm: FakeArm) -> None:
    with pytest.raises(OptionError, match="the token goes over https"):
        Arm("s", Somebody(), "http://example.org/")
    with pytest.raises(ApiError, match="leads away"):
        api(arm)._follow("https://example.org/operations/1", "x")
    elsewhere: list[str] = []

    class Elsewhere(FakeApi):
        def reply(self, request: Request) -> Reply:
            if request.url.startswith("/first"):
                return Reply(307, None, {"Location": f"{self.root}/second"})
            elsewhere.append(request.url)
            return Reply(200, {})

    with Elsewhere() as server, pytest.raises(ApiError) as caught:
        send("GET", f"{server.root}/first", {}, None, lambda error: ApiError(str(error.code), ""))
    assert (caught.value.code, elsewhere) == ("307", [])


def test_credentials_are_azure_identitys_and_so_is_the_subscription(
    arm: FakeArm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("azure.identity", reason="azure-identity is not installed")
    for name, value in environ_of(arm.root).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID")
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path))
    kind = registry.provider("azure")
    assert isinstance(kind, MachineKind)
    with pytest.raises(RefusedError, match="which subscription"):
        kind.rent("c", OPTIONS, []).list()
    profile = f'{{"subscriptions": [{{"id": "{SUBSCRIPTION}", "isDefault": true}}]}}'
    (tmp_path / "azureProfile.json").write_text(profile, "utf-8-sig")
    assert list(kind.rent("c", OPTIONS, []).list()) == []
    # Without any there is a sentence.
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    with pytest.raises(RefusedError, match="run `az login`"):
        kind.rent("c", OPTIONS, []).list()
