"""A real Grid Engine of two hosts, where it can be had."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.sge.lab_cluster import SgeCluster, why_not
from tests.slurm.user import User


@pytest.fixture(scope="session")
def lab() -> Iterator[SgeCluster]:
    """The real Grid Engine."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    cluster = SgeCluster(2)
    yield cluster
    cluster.close()


@pytest.fixture
def user(lab: SgeCluster, request: pytest.FixtureRequest) -> User:
    """Somebody at its terminal."""
    return User(lab, lab.home / re.sub(r"\W+", "-", request.node.name))
