"""Each test on both: fake programs everywhere, a real SLURM where it can be had."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
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
_FAILED = pytest.StashKey[bool]()


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
def user(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[User]:
    """Somebody at its terminal."""
    yield from _user(cluster, request)


@pytest.fixture
def fake_user(fake: FakeCluster, request: pytest.FixtureRequest) -> Iterator[User]:
    """Somebody at the fake one's, for what a real SLURM cannot be made to do."""
    yield from _user(fake, request)


@pytest.fixture
def lab_user(lab: LabCluster, request: pytest.FixtureRequest) -> Iterator[User]:
    """Somebody at the real one's, for what the fake does not have."""
    yield from _user(lab, request)


def _user(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[User]:
    name = re.sub(r"\W+", "-", request.node.name)
    user = User(cluster, cluster.home / name)
    yield user
    if request.node.stash.get(_FAILED, False):
        # What it would have cancelled must not fail the others, too.
        user.run("scancel", f"--user={user.run('whoami').stdout.strip()}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note for `_user` whether a test has failed."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report
