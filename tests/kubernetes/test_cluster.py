"""A cluster of `rayhpc up` on the fake: what is created, who owns it, what goes with it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rayhpc.clusters.errors import ClusterFileError
from rayhpc.clusters.read import read
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.kubernetes.objects import JOB, SECRET
from rayhpc.launch.kubernetes_cluster import KubernetesCluster, kubernetes_cluster
from rayhpc.providers.kubernetes.manifests import LONGEST_S
from tests.kubernetes.fake.server import LIMITED, FakeApi
from tests.kubernetes.files import cluster_yaml

HEAD = "rayhpc-demo-head"


def _silent(text: str) -> None:
    pass


def _cluster(config: Path, text: str | None = None) -> KubernetesCluster:
    file = read(text or cluster_yaml(), "cluster.yaml")
    return kubernetes_cluster(file, {"KUBECONFIG": str(config)})


def _then(api: FakeApi, act: Callable[[], None]) -> threading.Thread:
    """Act once the head's pod is there."""
    changes = api.store.watch("pods")

    def work() -> None:
        changes.get(timeout=20)
        act()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_comes_and_goes(api: FakeApi) -> None:
    made = _cluster(api.kubeconfig())
    assert made.head() == (None, None)
    made.check_rights()
    kubelet = _then(api, lambda: api.run(HEAD, "10.0.0.9"))
    assert made.start(_silent) == "10.0.0.9"
    kubelet.join()
    kinds = sorted(plural for plural, _ in api.store.everything())
    assert kinds == ["jobs", "pods", "rolebindings", "roles", "secrets", "serviceaccounts"]
    job = made.client.get(JOB, HEAD)
    assert not made.changed(job)
    assert _cluster(api.kubeconfig(), cluster_yaml(most=3)).changed(job)
    assert made.head_pod().status.pod_ip == "10.0.0.9"
    assert [(row.name, row.is_head) for row in made.rows()] == [("head", True)]
    made.end(_silent)
    assert api.store.everything() == []


def test_what_its_head_is(api: FakeApi) -> None:
    made = _cluster(api.kubeconfig())
    _then(api, lambda: api.run(HEAD)).join(0)
    made.start(_silent)
    growth = json.loads(api.store.get("secrets", HEAD)["stringData"]["growth.json"])
    assert growth["options"]["head_job"] == HEAD
    assert growth["types"][0]["min_nodes"] == 2
    assert growth["types"][0]["resources"] == {"CPU": 10000}
    pod = api.pod_of(HEAD)["spec"]
    (end,) = [x for x in pod["containers"][0]["env"] if x["name"] == "RAYHPC_END_TIME"]
    assert 0 <= time.time() + LONGEST_S - float(end["value"]) < 60
    assert pod["serviceAccountName"] == HEAD
    script = pod["containers"][0]["command"][-1]
    assert script.endswith(
        "exec rayhpc run --rank=0 --size=1 --no-report --growth /run/rayhpc/head/growth.json "
        '--num-cpus=0 --node-ip-address "$RAYHPC_POD_IP"'
    )
    (role,) = api.store.all("roles")
    assert [rule["resources"] for rule in role["rules"]] == [
        ["jobs"],
        ["secrets"],
        ["pods"],
        ["events"],
    ]


def test_an_up_that_was_interrupted_is_taken_up(api: FakeApi) -> None:
    made = _cluster(api.kubeconfig())
    api.loses = lambda method, path: method == "POST" and path.endswith("/roles")
    with pytest.raises(LaunchError):
        made.start(_silent)
    job, pod = made.head()
    assert job is not None
    assert pod is None
    assert made.is_there()
    api.loses = lambda method, path: False
    _then(api, lambda: api.run(HEAD)).join(0)
    made.start(_silent)
    assert len(made.client.list(SECRET)) == 1


def test_rights_are_asked_for_before_anything_is_done(api: FakeApi) -> None:
    api.refuses = {"create roles", "create rolebindings"}
    made = _cluster(api.kubeconfig(token=LIMITED))
    with pytest.raises(
        LaunchError, match="may not create roles, create rolebindings in n"
    ) as caught:
        made.check_rights()
    assert caught.value.code == ExitCode.PERMISSION
    assert "name a service account in the head's pod" in str(caught.value)
    named = cluster_yaml().replace("    autoscaler_service_account:", "    services:")
    _cluster(api.kubeconfig(token=LIMITED), named).check_rights()
    api.refuses = {"create jobs"}
    with pytest.raises(LaunchError):
        made.start(_silent)
    assert not made.is_there()
    assert api.store.everything() == []


def test_a_head_that_ends_says_why(api: FakeApi) -> None:
    made = _cluster(api.kubeconfig())

    def fail() -> None:
        api.logs[api.pod_of(HEAD)["metadata"]["name"]] = b"no such package\n"
        api.end(HEAD, 78)

    kubelet = _then(api, fail)
    with pytest.raises(LaunchError, match="a set-up command failed.*\n    . no such package"):
        made.start(_silent)
    kubelet.join()


def test_an_image_that_does_not_exist_ends_the_wait(api: FakeApi) -> None:
    made = _cluster(api.kubeconfig())
    kubelet = _then(api, lambda: api.wait_reason(HEAD, "ImagePullBackOff", "it is not found"))
    with pytest.raises(LaunchError, match="the head cannot start: image no/such:1: ImagePullB"):
        made.start(_silent)
    kubelet.join()


def test_why_the_head_waits_is_said_once(api: FakeApi) -> None:
    api.plane.nodes = {"n1": 0.5}
    made = _cluster(api.kubeconfig())
    said: list[str] = []

    def listen(text: str) -> None:
        said.append(text)
        api.plane.nodes["n2"] = 4.0
        api.plane.schedule()
        api.run(HEAD)

    made.start(listen)
    assert said == ["head: Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."]


def test_a_server_that_is_busy_is_asked_again(api: FakeApi) -> None:
    api.busy = {"pods"}
    said: list[str] = []

    def listen(text: str) -> None:
        said.append(text)
        api.busy.clear()
        api.run(HEAD, "10.0.0.9")

    assert _cluster(api.kubeconfig()).start(listen) == "10.0.0.9"
    assert said == ["head: Timeout: Too large resource version; asked again"]


def test_what_is_wrong_in_the_file(api: FakeApi) -> None:
    text = cluster_yaml().replace("    namespace:", "    namespce:")
    with pytest.raises(ClusterFileError, match="line 9: there is no 'namespce'.*'namespace'"):
        _cluster(api.kubeconfig(), text)
    with pytest.raises(LaunchError, match="node type worker_node: the container ray-node names no"):
        _cluster(api.kubeconfig(), cluster_yaml(image='""'))
    text = cluster_yaml().replace("    worker_node:", "    worker/node:")
    with pytest.raises(ClusterFileError, match="'worker/node' is not a node type's name"):
        _cluster(api.kubeconfig(), text)
    text = cluster_yaml().replace("    namespace: default", "    active_deadline_seconds: soon")
    with pytest.raises(LaunchError, match="active_deadline_seconds is a number of seconds from 1"):
        _cluster(api.kubeconfig(), text)
    with pytest.raises(LaunchError, match="there is no access to Kubernetes"):
        _cluster(Path("/nowhere"))


def test_what_has_no_effect_on_pods_is_said() -> None:
    assert read(cluster_yaml(), "c.yaml").ignored == ()
    more = 'file_mounts: {"/there": "/here"}\nhead_start_ray_commands: [ray start --head]\n'
    mounts, start = read(cluster_yaml() + more, "c.yaml").ignored
    assert mounts.startswith("file_mounts (line 75) has no effect: nothing is copied to pods")
    assert start.startswith("head_start_ray_commands (line 76) has no effect")
