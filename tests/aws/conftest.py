"""EC2's API with real machines behind it, where it can be had, shared by all tests here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aws.lab.lab import Ec2Lab, why_not
from tests.clusters.rented_desk import Desk

# In the shape of Ray's minimal example.
MINIMAL = """
provider: {type: aws, region: us-west-2}
available_node_types:
    ray.head.default: {resources: {}, node_config: {InstanceType: m5.large}}
    ray.worker.default:
        min_workers: 1
        max_workers: 4
        resources: {}
        node_config: {InstanceType: m5.large}
"""


@pytest.fixture(scope="session")
def cloud() -> Iterator[Ec2Lab]:
    """EC2; rayhpc is on the PATH of its machines' login shells."""
    pytest.importorskip("boto3", reason="boto3 is not installed")
    reason = why_not()
    if reason:
        pytest.skip(reason)
    lab = Ec2Lab(f"export PATH={Path(sys.executable).parent}:$PATH\n")
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture
def desk(cloud: Ec2Lab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Where a user sits; the cluster is ended afterwards."""
    made = Desk(cloud, tmp_path, f"c{abs(hash(request.node.name)) % 10**8}", MINIMAL)
    cloud.go_wrong()
    yield made
    cloud.go_wrong()
    made.rayhpc("down", "-y", str(made.file))
