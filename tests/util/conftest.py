"""One embedded cluster for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rayhpc


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A local cluster with four CPUs, whatever this machine has."""
    rayhpc.shutdown()  # another folder's tests may have left theirs
    rayhpc.init(num_cpus=4, object_store_memory=200 * 2**20)
    yield
    rayhpc.shutdown()
