"""Compute Engine's API with real machines behind it, where it can be had, shared by tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gcp.lab.lab import GceLab
from ssh.lab import packages
from tests.clusters.rented_desk import Desk, image


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GceLab]:
    """It runs while the tests do."""
    pytest.importorskip("google.auth", reason="google-auth is not installed")
    reason = packages.why_not()
    if reason:
        pytest.skip(reason)
    lab = GceLab(image(tmp_path_factory.mktemp("image")))
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture
def desk(cloud: GceLab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Where a user sits; the cluster is ended afterwards."""
    made = Desk(cloud, tmp_path, f"c{abs(hash(request.node.name)) % 10**8}")
    cloud.go_wrong()
    yield made
    cloud.go_wrong()
    made.rayhpc("down", "-y", str(made.file))
