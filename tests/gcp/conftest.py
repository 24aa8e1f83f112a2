"""Compute Engine's API with real machines behind it, where it can be had, shared by tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gcp.lab.lab import GceLab
from ssh.lab import packages
from tests.clusters.rented_desk import Desk, image, lab


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GceLab]:
    """It runs while the tests do."""
    pytest.importorskip("google.auth", reason="google-auth is not installed")
    yield from lab(GceLab, image(tmp_path_factory.mktemp("image")), packages.why_not())


@pytest.fixture
def desk(cloud: GceLab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Where a user sits; the cluster is ended afterwards."""
    made = Desk(cloud, tmp_path, f"c{abs(hash(request.node.name)) % 10**8}")
    yield from made.use()
