"""Each test on both: fake programs everywhere, a real SLURM where it can be had."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.slurm.fake.cluster import FakeCluster
from tests.slurm.fake.settings import Settings
from tests.slurm.lab_cluster import LabCluster, why_not
from tests.slurm.user import User

if TYPE_CHECKING:
    from tests.slurm.user import Cluster

NODES = 8


@pytest.fixture(scope="session")
def lab() -> Iterator[LabCluster]:
    """The real SLURM."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    cluster = LabCluster(NODES)
    yield cluster
    cluster.close()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCluster]:
    """The fake one."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    cluster = FakeCluster(folder, Settings(nodes=NODES))
    yield cluster
    cluster.close()


@pytest.fixture(params=["fake", "lab"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Both, one after the other."""
    chosen: Cluster = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def user(cluster: Cluster, request: pytest.FixtureRequest) -> User:
    """Somebody at its terminal."""
    return _user(cluster, request)


@pytest.fixture
def fake_user(fake: FakeCluster, request: pytest.FixtureRequest) -> User:
    """Somebody at the fake one's, for what a real SLURM cannot be made to do."""
    return _user(fake, request)


@pytest.fixture
def lab_user(lab: LabCluster, request: pytest.FixtureRequest) -> User:
    """Somebody at the real one's, for what the fake does not have."""
    return _user(lab, request)


def _user(cluster: Cluster, request: pytest.FixtureRequest) -> User:
    name = re.sub(r"\W+", "-", request.node.name)
    return User(cluster, cluster.home / name)
