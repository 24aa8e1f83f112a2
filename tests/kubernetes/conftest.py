"""An API server for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.kubernetes.access import find_access
from rayhpc.kubernetes.client import Client
from tests.kubernetes.fake.server import FakeApi


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    made = FakeApi(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def client(api: FakeApi) -> Client:
    return Client(find_access({"KUBECONFIG": str(api.kubeconfig())}))
