"""How far a launcher's signal goes is found out, not assumed."""

from __future__ import annotations

import signal
from collections.abc import Callable

import psutil
import pytest

from rayhpc.launch.signal_reach import SignalReach


@pytest.fixture
def new_children() -> Callable[[], list[psutil.Process]]:
    """Asks for the children that this process has had since the test began."""
    before = psutil.Process().children()
    return lambda: [x for x in psutil.Process().children() if x not in before]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_that_came_to_us_alone(number: int) -> None:
    reach = SignalReach()
    assert not reach.was_everywhere(number)
    reach.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_that_came_to_all(
    number: int, new_children: Callable[[], list[psutil.Process]]
) -> None:
    reach = SignalReach()
    for _ in range(2):
        (child,) = new_children()
        child.send_signal(number)
        assert reach.was_everywhere(number)
    reach.close()
    assert new_children() == []


def test_another_signal_is_none(new_children: Callable[[], list[psutil.Process]]) -> None:
    reach = SignalReach()
    (child,) = new_children()
    child.send_signal(signal.SIGTERM)
    assert not reach.was_everywhere(signal.SIGUSR1)
    reach.close()
