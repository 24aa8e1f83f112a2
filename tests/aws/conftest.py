"""EC2's API with real machines behind it, where it can be had, shared by all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aws.lab.lab import Ec2Lab, why_not
from tests.clusters.rented_desk import Desk, image, lab


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ec2Lab]:
    """EC2; it runs while the tests do."""
    pytest.importorskip("boto3", reason="boto3 is not installed")
    yield from lab(Ec2Lab, image(tmp_path_factory.mktemp("image")), why_not())


@pytest.fixture
def desk(cloud: Ec2Lab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Where a user sits; the cluster is ended afterwards."""
    made = Desk(cloud, tmp_path, f"c{abs(hash(request.node.name)) % 10**8}")
    yield from made.use()
