"""Several object managers under a seeded network: everybody is answered, and nothing is left."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from object_nodes import Cluster, Process, leftovers

from rayhpc.raylet.objects import directory, pulls, spill
from rayhpc.wire.address import ObjectId, node_of

STORE_BYTES = 1 << 20
STEPS = 400


class Chaos:
    """Random actions on a cluster."""

    def __init__(self, seed: int, spill_dir: str | None, deaths: bool, plane: bool) -> None:
        self.cluster = Cluster(seed, 3, STORE_BYTES, spill_dir, plane)
        net = self.cluster.net
        if plane:
            net.breaks, net.wrong, net.stalls = 0.05, 0.03, 0.01
            net.unreachable = {3} if seed % 3 == 0 else set()
        self.random = self.cluster.random
        self.deaths = deaths
        for node in self.cluster.managers:
            for _ in range(2):
                self.cluster.process(node)

    def run(self) -> None:
        for _ in range(STEPS):
            kind = self.random.random()
            process = self._process()
            if kind < 0.2:
                process.write(process.new(), self._size())
            elif kind < 0.35:
                oid = self._process().new()
                process.write(oid, self._size())
            elif kind < 0.65:
                self._fetch(process)
            elif kind < 0.7 and process.waiting:
                process.cancel(*self.random.choice(sorted(process.waiting)))
            elif kind < 0.85 and process.views:
                process.unpin(self.random.randrange(len(process.views)))
            elif kind < 0.95:
                self._free(process)
            elif self.deaths and kind > 0.985:
                self._death()
            for _ in range(self.random.randrange(12)):
                self.cluster.step()
            self.cluster.pass_time(self.random.choice([0, 0, 0.001, 0.1]))

    def end(self) -> None:
        """Readers let go until nobody waits; then owners free everything."""
        cluster = self.cluster
        for _ in range(200):
            cluster.settle(1.0)
            everybody = list(cluster.processes.values())
            for process in everybody:
                while process.views:
                    process.unpin()
            if not any(process.waiting or process.creating for process in everybody):
                break
        cluster.settle(1.0)
        waiting = {p.address: p.waiting for p in cluster.processes.values() if p.waiting}
        assert not waiting, f"nobody answered {waiting}"
        creating = [p.creating for p in cluster.processes.values() if p.creating]
        assert not creating
        for process in cluster.processes.values():
            pending = [oid for oid, state in process.owned.items() if state == "pending"]
            assert not pending
            for oid in list(process.owned):
                process.free(oid)
        cluster.settle(5.0)

    def _process(self) -> Process:
        return self.cluster.processes[self.random.choice(sorted(self.cluster.processes))]

    def _size(self) -> int:
        return self.random.choice([100, 5_000, 60_000, 200_000])

    def _objects(self) -> list[ObjectId]:
        everybody = self.cluster.processes.values()
        return sorted(oid for process in everybody for oid in process.owned)

    def _fetch(self, process: Process) -> None:
        known = self._objects()
        if known:
            process.fetch(self.random.choice(known), self.random.random() < 0.8)

    def _free(self, process: Process) -> None:
        done = sorted(oid for oid, state in process.owned.items() if state != "pending")
        if done:
            process.free(self.random.choice(done))

    def _death(self) -> None:
        victim = self._process()
        node = node_of(victim.address)
        if self.random.random() < 0.25 and len(self.cluster.managers) > 2:
            self.cluster.kill_node(node)
        else:
            self.cluster.kill_process(victim.address)
            self.cluster.process(node)


@pytest.fixture
def chaos(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Chaos]:
    # Small, so that objects of this size have several chunks and their pullers take turns.
    monkeypatch.setattr(spill, "PIECE", 16 * 1024)
    monkeypatch.setattr(pulls, "CHUNK", 16 * 1024)
    monkeypatch.setattr(pulls, "PART", 40 * 1024)
    monkeypatch.setattr(directory, "_TURNS_FROM", 50_000)
    seed, spills, deaths, plane = request.param
    chaos = Chaos(seed, str(tmp_path) if spills else None, deaths, plane)
    yield chaos
    chaos.cluster.close()


CASES = [(seed, seed % 4 != 0, seed % 2 == 1, seed >= 20) for seed in range(60)]


@pytest.mark.parametrize("chaos", CASES, indirect=True, ids=lambda case: f"seed{case[0]}")
def test_everybody_is_answered_and_nothing_is_left(chaos: Chaos) -> None:
    chaos.run()
    chaos.end()
    assert not leftovers(chaos.cluster)
