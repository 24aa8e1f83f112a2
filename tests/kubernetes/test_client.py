"""The client against a strict server: objects, refusals, watches, a server that goes away."""

from __future__ import annotations

from typing import Any

import pytest

from rayhpc.kubernetes.access import find_access
from rayhpc.kubernetes.client import Client
from rayhpc.kubernetes.errors import ApiError, UnreachableError
from rayhpc.kubernetes.objects import EVENT, JOB, POD, SECRET
from tests.kubernetes.fake.server import LIMITED, FakeApi


def job(name: str, **more: Any) -> dict[str, Any]:
    container = {"name": "ray-node", "image": "python:3.12"}
    pod = {"restartPolicy": "Never", "containers": [container | more]}
    return {
        "metadata": {"name": name, "labels": {"of": "me"}},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def test_a_job_from_its_creation_to_its_end(api: FakeApi, client: Client) -> None:
    made = client.create(JOB, job("a"))
    assert made.metadata.uid
    (pod,) = client.list(POD, {"job-name": "a"})
    assert (pod.status.phase, pod.spec.node_name) == ("Pending", "node-1")
    api.run("a", "10.1.2.3")
    assert client.get(POD, pod.metadata.name).status.pod_ip == "10.1.2.3"
    api.end("a", 3)
    found = client.get(JOB, "a")
    assert found.is_over
    assert found.condition("Failed") is not None
    assert client.delete(JOB, "a")
    assert not client.delete(JOB, "a")
    assert client.list(POD) == []


def test_lists_by_labels_alone_what_they_name(client: Client) -> None:
    client.create(JOB, job("a"))
    assert [x.metadata.name for x in client.list(JOB, {"of": "me"})] == ["a"]
    assert client.list(JOB, {"of": "you"}) == []


def test_a_name_is_taken_once(client: Client) -> None:
    client.create(JOB, job("a"))
    with pytest.raises(ApiError) as caught:
        client.create(JOB, job("a"))
    assert caught.value.exists
    assert not caught.value.is_conflict


def test_what_it_does_not_know_is_refused(client: Client) -> None:
    with pytest.raises(ApiError, match="unknown field") as caught:
        client.create(JOB, job("a", comand=["x"]))
    assert caught.value.status == 400


def test_deletes_only_what_has_not_changed(client: Client) -> None:
    first = client.create(JOB, job("a"))
    client.patch(JOB, "a", {"metadata": {"annotations": {"x": "y"}}})
    with pytest.raises(ApiError) as caught:
        client.delete(JOB, "a", unchanged=first.metadata.resource_version)
    assert caught.value.is_conflict
    assert client.get(JOB, "a").metadata.annotations == {"x": "y"}


def test_watches_what_is_there_and_what_happens(api: FakeApi, client: Client) -> None:
    client.create(JOB, job("a"))
    seen = client.watch(POD)
    assert next(seen)[0] == "ADDED"
    api.run("a")
    while (change := next(seen))[1].status.phase != "Running":
        assert change[0] == "MODIFIED"
    client.delete(JOB, "a")
    assert next(seen)[0] == "DELETED"
    api.stop()
    assert list(seen) == []


def test_rights_are_the_servers_own_answer(api: FakeApi) -> None:
    api.refuses = {"create jobs", "create pods/exec"}
    client = Client(find_access({"KUBECONFIG": str(api.kubeconfig(token=LIMITED))}))
    assert not client.may("create", JOB)
    assert client.may("delete", JOB)
    assert not client.may("create", POD, "exec")
    with pytest.raises(ApiError, match='cannot create resource "jobs"'):
        client.create(JOB, job("a"))


def test_a_quota_is_told_from_a_missing_right(api: FakeApi, client: Client) -> None:
    api.jobs_at_most = 0
    with pytest.raises(ApiError, match="exceeded quota") as caught:
        client.create(JOB, job("a"))
    assert caught.value.is_quota


def test_why_a_pod_waits_stands_in_an_event(api: FakeApi, client: Client) -> None:
    api.plane.nodes = {"node-1": 1.0}
    client.create(JOB, job("a", resources={"requests": {"cpu": "4"}}))
    (event,) = client.list(EVENT, fields="involvedObject.kind=Pod")
    assert event.message == "0/1 nodes are available: 1 Insufficient cpu."


def test_a_server_that_goes_away_and_comes_back(api: FakeApi, client: Client) -> None:
    api.stop()
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:\d+: .*refused"):
        client.list(JOB)
    api.start()
    assert client.list(JOB) == []


def test_a_reply_that_is_lost(api: FakeApi, client: Client) -> None:
    api.loses = lambda method, path: method == "POST"
    with pytest.raises(UnreachableError):
        client.create(SECRET, {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    assert [x.metadata.name for x in client.list(SECRET)] == ["s"]


def test_the_lines_of_a_log(api: FakeApi, client: Client) -> None:
    client.create(JOB, job("a"))
    name = api.pod_of("a")["metadata"]["name"]
    api.logs[name] = b"one\ntwo\n"
    assert list(client.log(name)) == [b"one", b"two"]
