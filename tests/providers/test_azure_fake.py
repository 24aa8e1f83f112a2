"""The fake of Azure is as strict as Azure where that matters: Microsoft's own clients use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from arm.lab.http_api import SUBSCRIPTION, TOKEN, FakeArm
from rayhpc.providers.azure import request
from rayhpc.providers.azure.api import COMPUTE
from rayhpc.providers.cloud_names import name_at
from rayhpc.providers.rest import ApiError
from tests.providers.test_azure import KEY, api, made, worker


@pytest.fixture
def arm() -> Iterator[FakeArm]:
    with FakeArm() as fake:
        yield fake


def test_the_fake_takes_no_version_that_it_does_not_know(arm: FakeArm) -> None:
    path = "providers/Microsoft.Compute/virtualMachines"
    assert list(api(arm).items("x", path, COMPUTE)) == []
    with pytest.raises(ApiError) as caught:
        api(arm).call("x", "GET", path, "2012-01-01")
    assert caught.value.code == "NoRegisteredProviderFound"


def test_microsofts_own_clients_find_the_fake_as_it_should_be(arm: FakeArm) -> None:
    compute = pytest.importorskip("azure.mgmt.compute", reason="Microsoft's clients are not there")
    network = pytest.importorskip("azure.mgmt.network", reason="Microsoft's clients are not there")
    resources = pytest.importorskip("azure.mgmt.resource.resources")
    from azure.core.pipeline.policies import SansIOHTTPPolicy

    class Bearer(SansIOHTTPPolicy):  # type: ignore[type-arg, misc, unused-ignore]
        """The clients' own refuses to send a token without TLS."""

        def on_request(self, request: Any) -> None:
            request.http_request.headers["Authorization"] = f"Bearer {TOKEN}"

    words = {"base_url": arm.root, "authentication_policy": Bearer(), "polling_interval": 0}
    groups = resources.ResourceManagementClient(object(), SUBSCRIPTION, **words).resource_groups
    nets = network.NetworkManagementClient(object(), SUBSCRIPTION, **words)
    vms = compute.ComputeManagementClient(object(), SUBSCRIPTION, **words).virtual_machines
    groups.create_or_update("ours", {"location": "westus2", "tags": {"rayhpc-cluster": "My.c"}})
    subnet, rules = made(arm)._network.make()
    around = request.Surroundings("westus2", subnet, rules, KEY, "ubuntu", "me", False)
    body = request.body("My.c", worker(), "w-1", request.Try("Standard_D2s_v3", "1"), around)
    vm = vms.begin_create_or_update("ours", "vm1", body).result()
    assert vm.provisioning_state == "Succeeded"
    statuses = [each.code for each in vms.instance_view("ours", "vm1").statuses]
    assert statuses == ["ProvisioningState/succeeded", "PowerState/running"]
    (address,) = nets.public_ip_addresses.list("ours")
    (machine,) = made(arm).list()
    assert (machine.identity, machine.login) == (vm.vm_id, address.ip_address)
    assert [each.name for each in vms.list_all(status_only="true")] == ["vm1"]
    arm.engine.faults.full = ["1"]
    with pytest.raises(Exception, match="ZonalAllocationFailed"):
        vms.begin_create_or_update("ours", "vm2", body).result()
    for name in ("vm1", "vm2"):
        vms.begin_delete("ours", name).result()
    assert list(vms.list("ours")) == list(nets.network_interfaces.list("ours")) == []
    name = name_at("My.c", "network")
    nets.virtual_networks.begin_delete("ours", name).result()
    nets.network_security_groups.begin_delete("ours", name).result()
    groups.begin_delete("ours").result()
    assert (arm.engine.resources, arm.engine.groups) == ({}, {})
