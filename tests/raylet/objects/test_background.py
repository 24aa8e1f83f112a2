"""The threads for slow work: results come in the caller's thread, and a descriptor tells when."""

import os
import select
import threading

from rayhpc.raylet.objects.background import Background


def wait_for(background: Background) -> None:
    assert select.select([background.wake_fd], [], [], 10)[0], "nothing was finished"
    background.run_done()


def test_work_runs_elsewhere_and_its_result_comes_here() -> None:
    background = Background()
    found: list[tuple[int, int]] = []
    background.submit(threading.get_ident, lambda ran: found.append((ran, threading.get_ident())))
    assert background.busy == 1
    wait_for(background)
    ran, heard = found[0]
    assert heard == threading.get_ident() != ran
    assert background.busy == 0
    background.close()


def test_the_descriptor_is_quiet_when_all_is_told() -> None:
    background = Background()
    background.submit(lambda: 1, lambda _: None)
    wait_for(background)
    assert not select.select([background.wake_fd], [], [], 0)[0]
    background.close()


def test_no_more_threads_than_work() -> None:
    background = Background()
    for _ in range(20):
        background.submit(lambda: None, lambda _: None)
        wait_for(background)
    assert len(background._threads) == 1
    background.close()


def test_closing_waits_for_what_runs_and_drops_the_rest() -> None:
    background = Background()
    begun, go = threading.Event(), threading.Event()
    ran: list[int] = []

    def work() -> None:
        begun.set()
        go.wait(10)
        ran.append(1)

    for _ in range(3):
        background.submit(work, lambda _: None)
    background.submit(lambda: ran.append(2), lambda _: None)
    assert begun.wait(10)
    threading.Timer(0.05, go.set).start()
    descriptors = len(os.listdir("/proc/self/fd"))
    background.close()
    assert 2 not in ran
    assert len(os.listdir("/proc/self/fd")) < descriptors
