"""CPUs of a worker whose threads wait are lent until the last of them goes on."""

from __future__ import annotations

from typing import Any

from rayhpc.runtime.worker.cpu_loan import CpuLoan
from rayhpc.wire.messages import leases


def test_two_threads_that_wait_lend_once_and_take_back_once() -> None:
    sent: list[Any] = []
    loan = CpuLoan(7, lambda to, message: sent.append((to, message)))
    assert loan.begin(3)
    assert not loan.begin(3)
    assert not loan.end(3)
    assert sent == [(7, leases.Blocked(3))]
    assert loan.end(3)
    assert sent[1:] == [(7, leases.Unblocked(3))]
    assert loan.begin(3)
