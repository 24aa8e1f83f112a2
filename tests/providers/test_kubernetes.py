"""Kubernetes as a provider, on a strict fake API server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import Machine, MachineState, NodeType
from rayhpc.kubernetes.access import find_access
from rayhpc.kubernetes.client import Client
from rayhpc.kubernetes.objects import JOB, SECRET, Object
from rayhpc.providers.base import CapacityError, ClusterFacts, ProviderError, RefusedError
from rayhpc.providers.kubernetes import names
from rayhpc.providers.kubernetes.manifests import Machine as Pod
from rayhpc.providers.kubernetes.manifests import job_of, resources_of
from rayhpc.providers.kubernetes.provider import HEAD_JOB, KubernetesProvider
from rayhpc.providers.kubernetes.trouble import lacking
from tests.kubernetes.fake.server import LIMITED, FakeApi
from tests.kubernetes.test_client import job as job_manifest

POD = {
    "metadata": {"labels": {"team": "x"}},
    "spec": {
        "restartPolicy": "Always",
        "containers": [
            {
                "name": "ray-node",
                "image": "some/image:1",
                "command": ["/bin/bash", "-c", "--"],
                "args": ["sleep infinity"],
                "resources": {"requests": {"cpu": "1000m"}, "limits": {"cpu": 2, "a.b/gpu": 1}},
            }
        ],
    },
}
KIND = NodeType("worker", max_nodes=8, options=POD, setup=("pip install rayhpc",))
SECRET_TEXT = "a token, once"


class Place:
    """A cluster `demo` whose head's Job exists, and its provider."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api = api
        self.client = Client(find_access({"KUBECONFIG": str(api.kubeconfig())}))
        self.head = self.client.create(JOB, job_manifest("demo-head"))
        self.facts = ClusterFacts(
            name="demo",
            address="10.0.0.9:6379",
            key_file=folder / "key",
            folder=folder,
            work_dir="/",
            options={"type": "kubernetes", HEAD_JOB: "demo-head", "owner": "me"},
            join_token=lambda name: f"{SECRET_TEXT} for {name}".encode(),
        )
        self.provider = self.again()

    def again(self, client: Client | None = None) -> KubernetesProvider:
        """As another process has it."""
        return KubernetesProvider(self.facts, [KIND], client or self.client)

    def job(self, machine: str) -> str:
        return names.machine_job("demo", self.head.metadata.uid, machine)

    def machine(self, name: str = "worker-1") -> Machine:
        return next(each for each in self.provider.list() if each.name == name)

    def count(self) -> int:
        return len(self.client.list(JOB)) - 1


@pytest.fixture
def place(api: FakeApi, tmp_path: Path) -> Place:
    return Place(api, tmp_path)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    made = FakeApi(tmp_path)
    yield made
    made.stop()


def test_a_machine_from_the_ask_to_its_end(place: Place) -> None:
    place.provider.ask(KIND, ["worker-1", "worker-2"])
    assert [each.state for each in place.provider.list()] == [MachineState.PENDING] * 2
    assert place.provider.addresses("worker-1") is None
    place.api.run(place.job("worker-1"), "10.0.0.7")
    found = place.machine()
    assert (found.state, found.address) == (MachineState.RUNNING, "10.0.0.7")
    assert found.node_type == "worker"
    assert place.provider.addresses("worker-1") == {"10.0.0.7"}
    place.provider.release(["worker-1", "worker-2"])
    assert place.provider.list() == []
    assert [x.metadata.name for x in place.client.list(SECRET)] == []


def test_every_machine_carries_its_own_end(place: Place) -> None:
    place.provider.ask(KIND, ["worker-1"])
    spec = place.api.store.get("jobs", place.job("worker-1"))
    assert spec["spec"]["backoffLimit"] == 0
    assert spec["spec"]["activeDeadlineSeconds"] == 7 * 24 * 3600
    assert spec["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["metadata"]["labels"]["rayhpc.io/cluster"] == "demo"
    assert spec["metadata"]["labels"]["rayhpc.io/owner"] == "me"
    place.client.delete(JOB, "demo-head")
    assert place.api.store.everything() == []


def test_its_node_is_told_its_end_or_that_of_the_head_if_that_is_sooner(place: Place) -> None:
    for head_ends, told in ((None, "605800"), (90_000.0, "90000"), (1e9, "605800")):
        facts = replace(place.facts, ends_at=head_ends)
        KubernetesProvider(facts, [KIND], place.client, lambda: 1000.0).ask(KIND, ["worker-1"])
        (container,) = place.api.pod_of(place.job("worker-1"))["spec"]["containers"]
        assert {"name": "RAYHPC_END_TIME", "value": told} in container["env"]
        place.provider.release(["worker-1"])


def test_the_pod_is_the_files_with_our_program_in_it(place: Place) -> None:
    place.provider.ask(KIND, ["worker-1"])
    pod = place.api.pod_of(place.job("worker-1"))
    (container,) = pod["spec"]["containers"]
    assert pod["metadata"]["labels"]["team"] == "x"
    assert container["image"] == "some/image:1"
    assert "args" not in container
    script = container["command"][-1]
    assert "{ pip install rayhpc\n} || exit 78" in script
    labels = '{"rayhpc.io/machine": "worker-1", "rayhpc.io/node-type": "worker"}'
    assert f"'--labels={labels}'" in script
    assert not pod["spec"]["automountServiceAccountToken"]


def test_its_first_process_ends_when_it_is_told_to() -> None:
    """As pid 1 it gets no signal that it has no handler for, whoever sends it."""
    first = job_of(Pod("j", {}, {}, "kill -TERM 1; exec sleep 60", "s"), POD, "x")
    assert _as_pid_1(first) == 128 + signal.SIGTERM
    for script, code in (("exit 78", 78), ("trap 'exit 5' TERM; kill -TERM 1; sleep 1", 5)):
        assert _as_pid_1(job_of(Pod("j", {}, {}, script, "s"), POD, "x")) == code


def _as_pid_1(job: Object) -> int:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    alone = ["unshare", *(["--map-root-user"] if os.geteuid() else []), "--pid", "--fork"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no pid namespaces here")
    return subprocess.run([*alone, *container["command"]], check=False, timeout=30).returncode


def test_the_token_is_in_a_secret_alone(place: Place) -> None:
    place.provider.ask(KIND, ["worker-1"])
    name = place.job("worker-1")
    secret = place.api.store.get("secrets", name)
    assert secret["stringData"] == {"token": f"{SECRET_TEXT} for worker-1"}
    for plural in ("jobs", "pods", "events"):
        assert SECRET_TEXT not in json.dumps(place.api.store.all(plural))


def test_a_lost_reply_asks_for_nothing_twice(place: Place) -> None:
    for lost in ("/jobs", "/secrets"):
        place.api.loses = lambda method, path, end=lost: method == "POST" and path.endswith(end)
        with pytest.raises(ProviderError):
            place.provider.ask(KIND, ["worker-1"])
    place.api.loses = lambda method, path: False
    place.again().ask(KIND, ["worker-1"])
    assert place.count() == 1
    assert len(place.client.list(SECRET)) == 1


def test_what_has_ended_is_not_asked_for_again(place: Place) -> None:
    place.provider.ask(KIND, ["worker-1"])
    place.api.end(place.job("worker-1"), 78)
    place.provider.ask(KIND, ["worker-1"])
    assert place.count() == 1
    assert place.machine().state is MachineState.ENDED
    assert place.machine().reason == "a set-up command failed (exit code 78)"


def test_cancels_what_is_not_there_yet(place: Place) -> None:
    place.provider.ask(KIND, ["worker-1", "worker-2"])
    place.api.run(place.job("worker-2"))
    place.provider.cancel(["worker-1", "worker-2", "worker-3"])
    assert [each.name for each in place.provider.list()] == ["worker-2"]


def test_machines_of_an_earlier_head_are_not_this_ones(place: Place) -> None:
    place.provider.ask(KIND, ["worker-1"])
    place.client.delete(JOB, "demo-head")
    place.client.create(JOB, job_manifest("demo-head"))
    assert place.again().list() == []


def test_why_it_is_pending_in_the_schedulers_words(place: Place) -> None:
    place.api.plane.nodes = {"node-1": 0.5, "node-2": 0.5}
    place.provider.ask(KIND, ["worker-1"])
    words = "0/2 nodes are available: 2 Insufficient cpu."
    assert place.machine().reason == f"Unschedulable: {words}"
    assert not place.machine().permanent
    assert place.provider.explain("worker-1").endswith(f"is pending: Unschedulable: {words}")
    assert place.provider.explain("worker-7") == "Kubernetes has no Job for worker-7 (any more)"


@pytest.mark.parametrize(
    ("reason", "message", "permanent"),
    [
        ("ImagePullBackOff", 'Back-off pulling image "no/such:1": not found', True),
        ("ErrImagePull", "dial tcp: i/o timeout", False),
        ("InvalidImageName", "couldn't parse image", True),
    ],
)
def test_an_image_that_cannot_be_had(
    place: Place, reason: str, message: str, permanent: bool
) -> None:
    place.provider.ask(KIND, ["worker-1"])
    place.api.wait_reason(place.job("worker-1"), reason, message)
    found = place.machine()
    assert found.reason == f"image no/such:1: {reason}: {message}"
    assert (found.state, found.permanent) == (MachineState.PENDING, permanent)


@pytest.mark.parametrize(
    ("code", "reason", "status", "said"),
    [
        (137, "OOMKilled", (), "OOMKilled: container ray-node used more memory than its limit"),
        (0, "", ("Evicted", "The node was low"), "Evicted: The node was low"),
        (127, "Error", (), "rayhpc is not in its image: add `pip install rayhpc`"),
        (1, "Error", (), "container ray-node: exit code 1"),
    ],
)
def test_how_it_ended(
    place: Place, code: int, reason: str, status: tuple[str, ...], said: str
) -> None:
    place.provider.ask(KIND, ["worker-1"])
    place.api.end(place.job("worker-1"), code, reason, *status)
    assert (place.machine().reason or "").startswith(said)


def test_a_pod_that_was_deleted(place: Place) -> None:
    place.provider.ask(KIND, ["worker-1"])
    place.api.plane.delete("pods", place.api.pod_of(place.job("worker-1"))["metadata"]["name"], {})
    assert place.machine().state is MachineState.ENDED
    assert place.machine().reason == "its pod was deleted"


def test_a_quota_means_later(place: Place) -> None:
    place.api.jobs_at_most = 1
    with pytest.raises(CapacityError, match="exceeded quota: team"):
        place.provider.ask(KIND, ["worker-1"])


def test_a_missing_right_means_never_and_is_named(place: Place) -> None:
    place.api.refuses = {"create jobs", "list events"}
    path = place.api.kubeconfig(token=LIMITED)
    limited = Client(find_access({"KUBECONFIG": str(path)}))
    assert lacking(limited) == ["create jobs", "list events"]
    with pytest.raises(RefusedError, match='cannot create resource "jobs"'):
        place.again(limited).ask(KIND, ["worker-1"])


def test_a_server_that_is_away_means_unknown(place: Place) -> None:
    place.provider.ask(KIND, ["worker-1"])
    place.api.stop()
    with pytest.raises(ProviderError, match="refused") as caught:
        place.provider.list()
    assert not isinstance(caught.value, RefusedError)
    assert place.provider.addresses("worker-1") is None
    place.api.start()
    assert [each.name for each in place.provider.list()] == ["worker-1"]


def test_a_pod_that_the_real_server_would_refuse(place: Place) -> None:
    (container,) = POD["spec"]["containers"]  # type: ignore[index]
    wrong = {"spec": {"containers": [container], "restartpolicy": "Never"}}
    with pytest.raises(RefusedError, match='unknown field "spec.template.spec.restartpolicy"'):
        place.provider.ask(NodeType("worker", options=wrong), ["worker-1"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "node_config is a pod"),
        ({"spec": {"containers": [{"name": "x"}]}}, "the container x names no image"),
    ],
)
def test_what_is_no_pod(place: Place, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(OptionError, match=f"node type gpu: .*{sentence}"):
        KubernetesProvider(place.facts, [NodeType("gpu", options=options)], place.client)


def test_what_such_a_node_has() -> None:
    assert resources_of(POD, "worker") == {"CPU": 2.0, "GPU": 1.0}


def test_names_stay_apart() -> None:
    uid = "0123456789"
    found = {names.machine_job("demo", uid, x) for x in ("a.b-1", "a-b-1", "A-b-1", "x" * 90)}
    assert len(found) == 4
    assert all(len(each) <= 57 for each in found)
    assert names.machine_job("demo", uid, "worker-1") == "demo-01234-worker-1"
