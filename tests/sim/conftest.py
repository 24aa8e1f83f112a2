"""Seeds: each test of this package runs for several, `RAYHPC_SIM_SEEDS` says how many."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from rayhpc.raylet.objects import pulls, spill
from rayhpc.wire import direct_links

from .cluster import Cluster

SEEDS = int(os.environ.get("RAYHPC_SIM_SEEDS", "5"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A failing seed is in the test's name."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(SEEDS), ids=lambda s: f"seed{s}")


@pytest.fixture
def sim(seed: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Three nodes of two CPUs; what goes over the data plane does not always arrive, and direct
    links, which begin early, break.
    """
    # So that the programs' objects go over it.
    monkeypatch.setattr(spill, "PIECE", 32 * 1024)
    monkeypatch.setattr(pulls, "CHUNK", 32 * 1024)
    monkeypatch.setattr(direct_links, "ASK_AFTER", 2)
    monkeypatch.setattr(direct_links, "ASK_AGAIN_AFTER", 3)
    monkeypatch.setattr(direct_links, "_DOUBLED_MOST", 2)
    monkeypatch.setattr(direct_links, "ACK_FRAMES", 3)
    gc.freeze()  # what is there already need not be looked through at each end
    gc.disable()  # when garbage goes must not depend on what ran before
    cluster = Cluster(seed)
    cluster.planes.breaks, cluster.planes.wrong, cluster.planes.stalls = 0.02, 0.01, 0.002
    cluster.world.direct.fails, cluster.world.direct.breaks = 0.1, 0.02
    yield cluster
    cluster.close()
    gc.enable()


@pytest.fixture(scope="package", autouse=True)
def _thaw() -> Iterator[None]:
    yield
    gc.unfreeze()
