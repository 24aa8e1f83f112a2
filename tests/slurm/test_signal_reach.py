"""How far a launcher's signal goes is found out, not assumed."""

from __future__ import annotations

import signal

import psutil
import pytest

from rayhpc.launch.signal_reach import SignalReach


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_that_came_to_us_alone(number: int) -> None:
    reach = SignalReach()
    assert not reach.was_everywhere(number)
    reach.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_that_came_to_all(number: int) -> None:
    reach = SignalReach()
    for _ in range(2):
        (child,) = psutil.Process().children()
        child.send_signal(number)
        assert reach.was_everywhere(number)
    reach.close()
    assert psutil.Process().children() == []


def test_another_signal_is_none() -> None:
    reach = SignalReach()
    (child,) = psutil.Process().children()
    child.send_signal(signal.SIGTERM)
    assert not reach.was_everywhere(signal.SIGUSR1)
    reach.close()
