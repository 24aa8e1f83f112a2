"""What the promises' tests share: a short private directory, and a real SLURM of their own."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.lab_cluster import LabCluster, why_not
from tests.slurm.user import User


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A private directory whose name is short enough for sockets beneath it."""
    path = Path(tempfile.mkdtemp(prefix="rp-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def lab() -> Iterator[LabCluster]:
    """A real SLURM, whose nodes have names that no other lab has."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    cluster = LabCluster(3, SLURMLAB_PREFIX="own", SLURMLAB_KILLWAIT="5")
    yield cluster
    cluster.close()


@pytest.fixture
def user(lab: LabCluster, request: pytest.FixtureRequest) -> User:
    """Somebody at its terminal."""
    return User(lab, lab.home / re.sub(r"\W+", "-", request.node.name))
