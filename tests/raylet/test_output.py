"""How much output is on its way to a driver, and what is said when some is left out."""

from __future__ import annotations

from typing import Any

from rayhpc.raylet.output import WINDOW, Output
from rayhpc.wire.address import make_address
from rayhpc.wire.messages.leases import LinesTaken, LogLines

DRIVER, OTHER = make_address(1, 3), make_address(2, 9)


def lines(count: int, length: int = 1023) -> LogLines:
    return LogLines(77, "10.0.0.1", "f", False, ["x" * length] * count)


def test_what_is_too_much_is_left_out_and_told_once_there_is_room() -> None:
    sent: list[tuple[int, Any]] = []
    output = Output("10.0.0.1", lambda *x: sent.append(x))
    fitting = WINDOW // 1024
    for _ in range(fitting + 5):
        output.pass_on(DRIVER, lines(1))
    output.pass_on(OTHER, lines(1))
    assert [x for x, _ in sent] == [DRIVER] * fitting + [OTHER]
    sent.clear()
    output.on_taken(DRIVER, LinesTaken(1024))
    ((address, told),) = sent
    assert (address, told.error) == (DRIVER, True)
    assert "5 lines of workers are left out" in told.lines[0]
    sent.clear()
    output.on_taken(DRIVER, LinesTaken(fitting * 512))
    output.pass_on(DRIVER, lines(3))
    assert sent == [(DRIVER, lines(3))]


def test_what_is_taken_and_who_has_ended_leave_nothing_behind() -> None:
    sent: list[tuple[int, Any]] = []
    output = Output("10.0.0.1", lambda *x: sent.append(x))
    for _ in range(5 * WINDOW // 10_240):
        output.pass_on(DRIVER, lines(10))
        output.on_taken(DRIVER, LinesTaken(lines(10).size))
    assert len(sent) == 5 * WINDOW // 10_240
    output.forget(DRIVER)
    output.on_taken(DRIVER, LinesTaken(7))
    assert output._windows == {}
