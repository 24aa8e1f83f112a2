"""Ray's key-value store, from a driver and from a worker of another node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rayhpc as ray
from rayhpc.cluster_utils import Cluster
from rayhpc.experimental import internal_kv as kv


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.shutdown()
    assert not kv._internal_kv_initialized()
    made = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 0})
    made.add_node(num_cpus=1)
    yield
    made.shutdown()


def test_values_of_text_and_bytes() -> None:
    assert kv._internal_kv_initialized()
    assert not kv._internal_kv_exists("color")
    assert kv._internal_kv_get("color") is None
    assert not kv._internal_kv_put("color", "red")
    assert kv._internal_kv_put(b"color", b"\xff\x00", overwrite=False), "it was there before"
    assert kv._internal_kv_get(b"color") == b"red"
    assert kv._internal_kv_put("color", b"\xff\x00")
    assert kv._internal_kv_get("color") == b"\xff\x00"
    assert kv._internal_kv_del("color") == 1
    assert kv._internal_kv_del("color") == 0


@pytest.mark.parametrize("namespace", ["mine", b"\xff"])
def test_namespaces_are_apart(namespace: str | bytes) -> None:
    kv._internal_kv_put("a/1", "x", namespace=namespace)
    kv._internal_kv_put("a/2", "y", namespace=namespace)
    kv._internal_kv_put("b", "z", namespace=namespace)
    assert kv._internal_kv_list("a/", namespace=namespace) == [b"a/1", b"a/2"]
    assert kv._internal_kv_list("") == []
    assert kv._internal_kv_del("a/", del_by_prefix=True, namespace=namespace) == 2
    assert kv._internal_kv_list("", namespace=namespace) == [b"b"]


def test_a_worker_of_another_node_sees_it() -> None:
    kv._internal_kv_put("there", "and back")

    @ray.remote
    def answer() -> bytes | None:
        found = kv._internal_kv_get("there")
        kv._internal_kv_put("back", "here")
        return found

    assert ray.get(answer.remote()) == b"and back"
    assert kv._internal_kv_get("back") == b"here"
