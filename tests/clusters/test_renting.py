"""What a cluster had beside its machines goes with the last of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from rayhpc.clusters import renting
from rayhpc.elastic.types import MachineState
from rayhpc.providers.machines import Rented
from tests.clusters.test_growing import Place, machine


class LatePlace(Place):
    """Its network is in use while there is a machine; one comes up when all have been ended."""

    def dissolve(self) -> Sequence[str]:
        """Asked again and again."""
        return ["its network"] if any(self._lives(each) for each in self.machines) else []

    def release(self, names: Sequence[str]) -> None:
        """At once."""
        super().release(names)
        ended = MachineState.ENDED
        self.machines = [replace(x, state=ended) if x.name in names else x for x in self.machines]

    @staticmethod
    def _lives(each: Rented) -> bool:
        return each.state is not MachineState.ENDED


def test_a_machine_that_comes_up_late_is_ended_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renting, "_LOOK_S", 0.0)
    place = LatePlace(machine("w-1", MachineState.ENDED), machine("w-2", MachineState.PENDING))
    assert renting.remove_the_rest(place) == []
    assert place.released.get_nowait() == "w-2"
    assert place.released.empty()
