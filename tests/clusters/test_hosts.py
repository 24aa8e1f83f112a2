"""Lists of machines: Ray's head_ip and worker_ips, and our own hosts."""

from __future__ import annotations

import pytest

from rayhpc.clusters.errors import ClusterFileError
from rayhpc.clusters.hosts import Host, hosts_of
from rayhpc.clusters.read import read
from tests.clusters import files


def hosts(provider: str, more: str = "") -> list[Host]:
    return hosts_of(read(f"cluster_name: c\nprovider: {provider}\n{more}", "c.yaml"))


def test_rays_list() -> None:
    head, *workers = hosts_of(read(files.LOCAL_MINIMAL, "c.yaml"))
    assert (head.name, head.is_head, head.user) == ("192.0.2.1", True, "me")
    assert [each.name for each in workers] == ["192.0.2.2", "192.0.2.3"]
    assert not any(each.is_head for each in workers)


def test_the_head_may_be_reached_under_another_name_than_workers_use() -> None:
    (head,) = hosts("{type: local, head_ip: inner, external_head_ip: outer}")
    assert (head.name, head.login) == ("inner", "outer")


def test_hosts_have_their_own_user_port_and_resources() -> None:
    first = "{host: a, user: root, port: 2222, resources: {GPU: 2}, labels: {rack: r1}}"
    head, worker = hosts(f"{{type: ssh, hosts: [{first}, b]}}", "auth: {ssh_user: me}\n")
    assert (head.name, head.user, head.port, head.resources) == ("a", "root", 2222, {"GPU": 2})
    assert head.labels == {"rack": "r1"}
    assert (worker.name, worker.user, worker.port) == ("b", "me", None)


def test_a_node_types_resources_are_its_hosts() -> None:
    types = "available_node_types: {h: {}, w: {resources: {disk: 1}}}\nhead_node_type: h\n"
    head, worker = hosts("{type: local, head_ip: a, worker_ips: [b]}", types)
    assert (head.node_type, worker.node_type) == ("h", "w")
    assert worker.resources == {"disk": 1}


@pytest.mark.parametrize(
    ("provider", "sentence"),
    [
        ("{type: local}", "provider needs head_ip"),
        ("{type: local, head_ip: a, worker_ip: [b]}", "did you mean 'worker_ips'?"),
        ("{type: local, head_ip: a, worker_ips: [b, b]}", "b stands twice"),
        ("{type: local, head_ip: -oProxyCommand=x}", "is not a host's name"),
        ("{type: local, head_ip: a/../b}", "is not a host's name"),
        ("{type: local, head_ip: a b}", "is not a host's name"),
        ("{type: ssh, hosts: [{host: a, usr: me}]}", "did you mean 'user'?"),
        ("{type: local, coordinator_address: 'h:1'}", "coordinator server is not served"),
    ],
)
def test_a_wrong_list_is_refused(provider: str, sentence: str) -> None:
    with pytest.raises(ClusterFileError, match="line 2: ") as caught:
        hosts(provider)
    assert sentence in str(caught.value)
