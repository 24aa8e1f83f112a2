"""The clusters these tests run on, started when first needed and kept for the next test."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rayhpc
from rayhpc.cluster_utils import Cluster


class _Clusters:
    """At most one cluster at a time: embedded, or of several nodes."""

    def __init__(self) -> None:
        self._nodes: Cluster | None = None

    def embedded(self) -> None:
        """Four CPUs and two GPUs on one node."""
        if self._nodes is not None:
            self.end()
        if not rayhpc.is_initialized():
            rayhpc.init(num_cpus=4, num_gpus=2, resources={"disk": 2}, namespace="tests")

    def several(self) -> Cluster:
        """A head's node with two CPUs, where the driver is, and one more with two others."""
        if self._nodes is None:
            self.end()
            head = {"num_cpus": 2, "labels": {"zone": "near"}, "resources": {"near": 1}}
            self._nodes = Cluster(initialize_head=True, head_node_args=head)
            far = {"zone": "far", "kind": "spare"}
            self._nodes.add_node(num_cpus=2, labels=far, resources={"far": 1})
            rayhpc.init(self._nodes.address, namespace="tests")
            self._nodes.wait_for_nodes()
        return self._nodes

    def end(self) -> None:
        """Leave what there is."""
        rayhpc.shutdown()
        if self._nodes is not None:
            self._nodes.shutdown()
            self._nodes = None


@pytest.fixture(scope="package")
def _clusters() -> Iterator[_Clusters]:
    clusters = _Clusters()
    yield clusters
    clusters.end()


@pytest.fixture
def ray(_clusters: _Clusters) -> Any:
    """rayhpc, with a cluster of one node."""
    _clusters.embedded()
    return rayhpc


@pytest.fixture
def nodes(_clusters: _Clusters) -> Cluster:
    """A cluster of two nodes that this process has joined."""
    return _clusters.several()


@pytest.fixture(scope="module", params=["one node", "two nodes"])
def place(request: pytest.FixtureRequest, _clusters: _Clusters) -> dict[str, Any]:
    """Options that put a task or actor on the driver's node, which is alone; and on another one."""
    if request.param == "one node":
        _clusters.embedded()
        return {}
    _clusters.several()
    return {"resources": {"far": 0.01}}


@pytest.fixture
def run_program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program of its own in a new interpreter."""

    def run(
        text: str, env: dict[str, str] | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(text)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return run
