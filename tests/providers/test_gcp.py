"""What the provider asks of Compute Engine, over HTTP, and what it makes of the answers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gcp.lab.engine import Faults
from gcp.lab.http_api import PROJECT, TOKEN, FakeGce
from gcp.lab.key_file import write_key_file
from rayhpc.batch.errors import OptionError
from rayhpc.clusters.renting import host_of
from rayhpc.clusters.schema import Auth, ClusterConfig
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.providers import registry
from rayhpc.providers.base import CapacityError, ProviderError, RefusedError
from rayhpc.providers.cloud_names import CLUSTER, name_at
from rayhpc.providers.gcp import provider as module
from rayhpc.providers.gcp import request
from rayhpc.providers.gcp.api import Compute
from rayhpc.providers.gcp.provider import GcpProvider
from rayhpc.providers.gcp.request import label
from rayhpc.providers.gcp.startup import startup_script
from rayhpc.providers.machines import MachineKind, print_of
from rayhpc.wire.feasibility import END_LABEL

OPTIONS: dict[str, object] = {
    "type": "gcp",
    "region": "us-west1",
    "availability_zone": "us-west1-a,us-west1-b",
    "project_id": None,
}
WORKER = NodeType("ray_worker.Small", max_nodes=4, options={"machineType": "n1-standard-2"})
KEY = "ssh-ed25519 AAAA me"
INSERT = "compute.instances.insert"


class Somebody:
    """Credentials that the fake takes."""

    def project(self) -> str | None:
        return PROJECT

    def headers(self, url: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def gce() -> Iterator[FakeGce]:
    with FakeGce() as fake:
        yield fake


def made(
    gce: FakeGce, options: dict[str, object] = OPTIONS, clock: list[float] | None = None
) -> GcpProvider:
    """A provider that is ready."""
    ticks = clock if clock is not None else [0.0]
    api = Compute(None, Somebody(), gce.endpoint)
    provider = GcpProvider("My.c", options, api, lambda: ticks[0])
    provider.prepare(KEY, "ubuntu")
    return provider


def items(body: dict[str, Any]) -> dict[str, str]:
    return {each["key"]: each["value"] for each in body["metadata"]["items"]}


def instances(gce: FakeGce) -> list[dict[str, Any]]:
    return list(gce.engine.instances.values())


def test_other_keys_are_let_in_besides(gce: FakeGce) -> None:
    provider = made(gce)
    provider.let_in(["ssh-ed25519 BBBB head"])
    provider.ask(NodeType("w", options={"machineType": "n1-standard-2"}), ["w-1"])
    told = items(gce.inserted[0][0])
    assert told["ssh-keys"] == f"ubuntu:{KEY}\nubuntu:ssh-ed25519 BBBB head"


def test_a_machine_has_all_that_makes_it_end_and_be_found_again(gce: FakeGce) -> None:
    config = {
        "machineType": "t2a-standard-2",
        "labels": {"mine": "yes"},
        "metadata": {"items": [{"key": "ssh-keys", "value": "root:ssh-rsa BBBB"}]},
        "disks": [{"boot": True, "type": "PERSISTENT", "initializeParams": {"diskType": "pd-ssd"}}],
    }
    kind = NodeType("w", options=config)
    made(gce).ask(kind, ["w-1"])
    ((body, query),) = gce.inserted
    uuid.UUID(query["requestId"])
    assert body["machineType"] == "zones/us-west1-a/machineTypes/t2a-standard-2"
    assert body["scheduling"] == {
        "maxRunDuration": {"seconds": "2592000"},
        "instanceTerminationAction": "DELETE",
    }
    (disk,) = body["disks"]
    assert disk["autoDelete"] is True
    assert disk["initializeParams"] == {
        "diskType": "zones/us-west1-a/diskTypes/pd-ssd",
        "sourceImage": "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-arm64",
    }
    assert body["networkInterfaces"][0]["network"] == "global/networks/default"
    labels = body["labels"]
    assert labels["mine"] == "yes"
    assert (labels["rayhpc-cluster"], labels["rayhpc-node-type"]) == (label("My.c"), "w")
    told = items(body)
    assert told["ssh-keys"] == f"root:ssh-rsa BBBB\nubuntu:{KEY}"
    assert told["enable-oslogin"] == "FALSE"
    assert "shutdown -h now" in told["startup-script"]
    (machine,) = made(gce).list()
    assert (machine.name, machine.node_type, machine.made_of) == ("w-1", "w", print_of(kind))
    assert machine.state is MachineState.RUNNING
    assert (machine.address, machine.login) == ("10.138.0.3", "203.0.113.3")
    assert machine.ends_at is not None
    assert 0 <= time.time() + 30 * 24 * 3600 - machine.ends_at < 60
    host = host_of(machine, ClusterConfig(cluster_name="c", provider={}), Auth())
    assert host.labels[END_LABEL] == str(int(machine.ends_at))


def test_rays_spot_workers_and_machines_without_an_address_outside(gce: FakeGce) -> None:
    config = {"machineType": "n1-standard-2", "scheduling": [{"preemptible": True}]}
    provider = made(gce, {**OPTIONS, "use_internal_ips": True})
    provider.ask(NodeType("w", options=config), ["w-1"])
    ((body, _),) = gce.inserted
    assert body["scheduling"] == {
        "preemptible": True,
        "provisioningModel": "SPOT",
        "automaticRestart": False,
        "onHostMaintenance": "TERMINATE",
        "maxRunDuration": {"seconds": "2592000"},
        "instanceTerminationAction": "DELETE",
    }
    assert "accessConfigs" not in body["networkInterfaces"][0]
    assert provider.list()[0].login == "10.138.0.3"


def test_the_head_alone_may_have_an_address_outside(gce: FakeGce) -> None:
    options = {**OPTIONS, "use_internal_ips": True, "use_external_head_ip": True}
    provider = made(gce, options)
    for name in ("head-1", "w-1"):
        provider.ask(WORKER, [name])
    outside = ["accessConfigs" in body["networkInterfaces"][0] for body, _ in gce.inserted]
    assert outside == [True, False]
    assert [each.login for each in provider.list()] == ["203.0.113.3", "10.138.0.5"]


def test_names_and_labels_are_googles_and_stay_apart() -> None:
    assert label("a-b_9") == "a-b_9"
    assert label("A.b") != label("a.b") != label("a-b")
    names = {name_at("c", "w-1"), name_at("c-w", "1"), name_at("C", "w-1")}
    assert len(names) == 3
    assert len(name_at("x" * 63, "y" * 63)) == 63


def test_a_lost_reply_is_asked_for_again_and_there_is_one_machine(gce: FakeGce) -> None:
    gce.engine.faults = Faults(lose=1)
    provider = made(gce)
    with pytest.raises(ProviderError, match="no answer to rely on") as caught:
        provider.ask(WORKER, ["w-1"])
    assert type(caught.value) is ProviderError
    provider.ask(WORKER, ["w-1"])
    assert len(gce.inserted) == len(instances(gce)) == 1
    # Another process that has not seen it yet asks for the same name, of which there is one.
    made(gce)._insert(WORKER, "w-1", "us-west1-a")
    assert [x[1] for x in gce.calls if x[0] == INSERT] == [200, 409]
    assert len(instances(gce)) == 1


def test_the_same_request_is_made_again_until_it_is_answered(gce: FakeGce) -> None:
    gce.engine.faults = Faults(lose=1)
    provider = made(gce)
    with pytest.raises(ProviderError):
        provider.ask(WORKER, ["w-1"])
    provider._insert(WORKER, "w-1", "us-west1-a")
    provider.release(["w-1"])
    provider.ask(WORKER, ["w-1"])
    first, again, other = (query["requestId"] for _, query in gce.inserted)
    assert first == again != other
    assert len(instances(gce)) == 1
    # One that was found is answered, too.
    gce.engine.faults = Faults(lose=1)
    with pytest.raises(ProviderError):
        provider.ask(WORKER, ["w-2"])
    provider.ask(WORKER, ["w-2"])
    provider.release(["w-2"])
    provider.ask(WORKER, ["w-2"])
    assert len(instances(gce)) == 2


def test_zones_are_tried_in_turn_and_full_ones_last_for_a_while(gce: FakeGce) -> None:
    clock = [0.0]
    provider = made(gce, clock=clock)
    gce.engine.faults.full = ["us-west1-a"]
    provider.ask(WORKER, ["w-1"])
    provider.ask(WORKER, ["w-2"])
    zones = [body["machineType"].split("/")[1] for body, _ in gce.inserted]
    assert zones == ["us-west1-a", "us-west1-b", "us-west1-b"]
    clock[0] = 601.0
    gce.engine.faults.full = ["n1-standard-2"]
    with pytest.raises(CapacityError) as caught:
        provider.ask(WORKER, ["w-3"])
    assert str(caught.value) == (
        "Compute Engine has none now: n1-standard-2 in us-west1-a (ZONE_RESOURCE_POOL_EXHAUSTED), "
        "n1-standard-2 in us-west1-b (ZONE_RESOURCE_POOL_EXHAUSTED)"
    )
    assert {x.name for x in provider.list()} == {"w-1", "w-2"}


IMAGE = {"disks": [{"boot": True, "initializeParams": {"sourceImage": "projects/a/images/b"}}]}
REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], type[ProviderError]]] = {
    "no permission for compute.instances.insert: Required": ({"deny": [INSERT]}, {}, RefusedError),
    "project's quota is used up .QUOTA_EXCEEDED: Quota": ({"quota": 0}, {}, CapacityError),
    "no answer to rely on .rateLimitExceeded": ({"throttle": 1}, {}, ProviderError),
    "machine-types list` shows": ({}, {"machineType": "n9-imaginary-1"}, RefusedError),
    "leave sourceImage out for Ubuntu's": ({}, IMAGE, RefusedError),
    'Unknown name "machinType"': ({}, {"machinType": "n1-standard-2"}, RefusedError),
}


@pytest.mark.parametrize("sentence", REFUSALS)
def test_a_refusal_is_told_by_what_can_be_done_about_it(gce: FakeGce, sentence: str) -> None:
    faults, config, kind = REFUSALS[sentence]
    provider = made(gce)
    gce.engine.faults = Faults(**faults)
    with pytest.raises(ProviderError, match=sentence) as caught:
        provider.ask(NodeType("w", options=config), ["w-1"])
    assert type(caught.value) is kind
    assert not gce.engine.instances


def test_machines_are_ended_by_name_and_none_is_left(gce: FakeGce) -> None:
    provider = made(gce)
    for name in ("w-1", "w-2", "w-3"):  # in that order
        provider.ask(WORKER, [name])
    provider.renew(1e9)
    assert {x["labels"]["rayhpc-lease"] for x in instances(gce)} == {"1000000000"}
    provider.renew(None)
    assert not any("rayhpc-lease" in x["labels"] for x in instances(gce))
    provider.cancel(["w-1"])  # it runs
    provider.release(["w-2"])
    assert [x.name for x in provider.list()] == ["w-1", "w-3"]
    assert provider.explain("w-1").endswith("is RUNNING; its console:\nbooted")
    assert provider.explain("w-2") == "Compute Engine knows no instance for w-2 (any more)"
    # One that has switched itself off has ended, but its disk is there.
    gce.engine.stop(instances(gce)[1]["id"])
    stopped = provider.list()[1]
    assert (stopped.name, stopped.state) == ("w-3", MachineState.ENDED)
    assert str(stopped.reason).endswith("switched itself off, or Google has taken it back")
    provider.release(["w-1"])
    assert len(provider.dissolve()) == 1
    assert provider.dissolve() == []
    assert instances(gce) == []


def test_what_nobody_looks_after_any_more_is_told_from_the_rest(
    gce: FakeGce, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_api", lambda _: Compute(None, Somebody(), gce.endpoint))
    provider = made(gce)
    for name in ("w-1", "w-2"):  # in that order
        provider.ask(WORKER, [name])
    provider.renew(1000.0)
    provider.ask(WORKER, ["w-3"])
    first, second, third = (x["id"] for x in instances(gce))
    gce.engine.stop(third)
    kind = registry.provider("gcp")
    assert isinstance(kind, MachineKind)
    found = kind.watched({"type": "gcp", "region": "us-west1"})
    assert [(x.cluster, x.name, x.identity) for x in found] == [
        ("My.c", "w-1", first),
        ("My.c", "w-2", second),
        ("My.c", "w-3", third),
    ]
    assert [x.is_stale(999.0) for x in found] == [False, False, False]
    assert [x.is_stale(4e9) for x in found] == [True, True, True]
    assert list(kind.watched({"type": "gcp", "region": "us-east1"})) == []
    kind.end(OPTIONS, [first, third])
    assert [x.identity for x in kind.watched(OPTIONS)] == [second]


WRONG: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "there is no 'regio'": ({**OPTIONS, "regio": "x"}, {}),
    "needs an availability_zone": ({"type": "gcp"}, {}),
    "name that in GOOGLE_APPLICATION_CREDENTIALS": ({**OPTIONS, "gcp_credentials": {}}, {}),
    "TPUs .acceleratorType. are not served": (OPTIONS, {"acceleratorType": "v2-8"}),
    "name is set by rayhpc itself": (OPTIONS, {"name": "x"}),
    "instanceTerminationAction is DELETE": (
        OPTIONS,
        {"scheduling": {"instanceTerminationAction": "STOP"}},
    ),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_wrong_options_are_named(sentence: str) -> None:
    options, config = WRONG[sentence]
    kind = registry.provider("gcp")
    assert isinstance(kind, MachineKind)
    with pytest.raises(OptionError, match=sentence):
        kind.rent("c", options, [NodeType("w", options=config)])


def test_without_google_auth_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    kind = registry.provider("gcp")
    assert isinstance(kind, MachineKind)
    with pytest.raises(OptionError, match=r"needs google-auth .*pip install 'rayhpc\[gcp\]'"):
        kind.rent("c", OPTIONS, [])


def test_a_token_does_not_go_over_a_network_in_the_clear() -> None:
    with pytest.raises(OptionError, match="the token goes over https"):
        Compute("p", Somebody(), "http://example.org/compute/v1/")


def test_credentials_are_google_auths_and_so_is_the_project(
    gce: FakeGce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("google.auth", reason="google-auth is not installed")
    file = tmp_path / "account.json"
    write_key_file(file, gce.token_uri)
    for name in ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", gce.endpoint)
    kind = registry.provider("gcp")
    assert isinstance(kind, MachineKind)
    assert list(kind.rent("c", OPTIONS, []).list()) == []
    assert gce.calls == [("compute.instances.list", 200)]
    # Without any there is a sentence.
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(RefusedError, match="gcloud auth application-default login"):
        kind.rent("c", OPTIONS, []).list()


def test_a_users_own_startup_script_runs_after_the_watch_has_begun(tmp_path: Path) -> None:
    ended = tmp_path / "setsid"
    ended.write_text(f'#!/bin/sh\necho "$1" >{tmp_path}/watch\n')
    ended.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    theirs = f"#!{sys.executable}\nprint('theirs', open('{tmp_path}/watch').read())\n"
    for script in (theirs, f"echo theirs $(cat {tmp_path}/watch)\n"):
        done = subprocess.run(
            ["sh", "-c", startup_script("c", script)],
            capture_output=True,
            text=True,
            env=environ,
            check=True,
        )
        assert done.stdout.split() == ["theirs", "-f"]


def test_googles_own_client_finds_the_fake_as_it_should_be(gce: FakeGce) -> None:
    compute = pytest.importorskip("google.cloud.compute_v1", reason="Google's client is not there")
    from google.api_core.exceptions import Conflict, NotFound
    from google.oauth2.credentials import Credentials

    host = gce.root.removeprefix("http://")

    def client(kind: Any) -> Any:
        rest = kind.get_transport_class("rest")
        return kind(transport=rest(host=host, credentials=Credentials(TOKEN), url_scheme="http"))

    vms, operations = client(compute.InstancesClient), client(compute.ZoneOperationsClient)
    at = {"project": PROJECT, "zone": "us-west1-a"}
    around = request.Surroundings(KEY, "ubuntu", "me", internal=False)
    body = request.body("My.c", WORKER, "w-1", at["zone"], around)
    # Google's own type refuses a word that it does not know.
    told = compute.Instance.from_json(json.dumps(body), ignore_unknown_fields=False)

    def outcome(operation: Any) -> list[str]:
        done = operations.wait(operation=operation.name, **at)
        assert done.status == compute.Operation.Status.DONE
        return [each.code for each in done.error.errors]

    assert outcome(vms.insert_unary(instance_resource=told, **at)) == []
    with pytest.raises(Conflict):
        vms.insert_unary(instance_resource=told, **at)
    which = {"project": PROJECT, "filter": f"labels.{CLUSTER}={label('My.c')}"}
    (found,) = (x for _, zone in vms.aggregated_list(request=which) for x in zone.instances)
    (machine,) = made(gce).list()
    assert found.status == "RUNNING"
    assert (str(found.id), found.network_interfaces[0].network_i_p) == (
        machine.identity,
        machine.address,
    )
    labels = compute.InstancesSetLabelsRequest(
        labels={**found.labels, "rayhpc-lease": "4000000000"},
        label_fingerprint=found.label_fingerprint,
    )
    set_labels = {"instance": found.name, "instances_set_labels_request_resource": labels}
    assert outcome(vms.set_labels_unary(**set_labels, **at)) == []
    assert vms.get_serial_port_output(instance=found.name, **at).contents == "booted\n"
    assert outcome(vms.delete_unary(instance=found.name, **at)) == []
    with pytest.raises(NotFound):
        vms.delete_unary(instance=found.name, **at)
    gce.engine.faults = Faults(full=[at["zone"]])
    assert outcome(vms.insert_unary(instance_resource=told, **at)) == [
        "ZONE_RESOURCE_POOL_EXHAUSTED"
    ]
    assert instances(gce) == []
