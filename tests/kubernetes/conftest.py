"""An API server for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubernetes.lab import packages
from kubernetes.lab.lab import Lab
from rayhpc.kubernetes.access import find_access
from rayhpc.kubernetes.client import Client
from tests.kubernetes.desk import Desk
from tests.kubernetes.fake.server import FakeApi


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    made = FakeApi(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def client(api: FakeApi) -> Client:
    return Client(find_access({"KUBECONFIG": str(api.kubeconfig())}))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A real control plane, where it has been built."""
    reason = packages.why_not()
    if reason:
        pytest.skip(reason)
    made = Lab.up()
    yield made
    made.down()


@pytest.fixture
def desk(lab: Lab, tmp_path: Path) -> Iterator[Desk]:
    """Where a user sits; the cluster is ended afterwards."""
    made = Desk(lab, tmp_path)
    yield made
    made.rayhpc("down", "-y", str(made.file))
