"""The threads for slow work: results come in the caller's thread, and a descriptor tells when."""

import os
import random
import select
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from rayhpc.raylet.objects import ObjectManager
from rayhpc.raylet.objects.background import Background
from rayhpc.store.arena import Arena
from rayhpc.wire.address import make_address, make_object_id
from rayhpc.wire.messages import objects


def wait_for(background: Background) -> None:
    assert select.select([background.wake_fd], [], [], 60)[0], "nothing was finished"
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
        go.wait(60)
        ran.append(1)

    for _ in range(3):
        background.submit(work, lambda _: None)
    background.submit(lambda: ran.append(2), lambda _: None)
    assert begun.wait(60)
    threading.Timer(0.05, go.set).start()
    descriptors = len(os.listdir("/proc/self/fd"))
    background.close()
    assert 2 not in ran
    assert len(os.listdir("/proc/self/fd")) < descriptors


def test_a_store_spills_and_restores_through_real_threads(tmp_path: Path) -> None:
    sent: deque[tuple[int, Any]] = deque()
    arena = Arena.create(8 * 2**20)
    manager = ObjectManager(
        1,
        arena,
        [str(tmp_path)],
        send=lambda to, message: sent.append((to, message)),
        now=time.monotonic,
        random=random.Random(0),
    )
    handlers, me = manager.handlers(), make_address(1, 1)

    def ask(message: Any) -> Any:
        handlers[type(message)](me, message)
        while not sent:
            deadline = manager.deadline() or time.monotonic() + 60
            select.select([manager.wake_fd], [], [], max(0, deadline - time.monotonic()))
            manager.on_time()
        return sent.popleft()[1]

    size = 3 * 2**20
    oids = [make_object_id(me, number) for number in range(1, 7)]
    for oid in oids:
        place = ask(objects.StoreCreate(oid, size))
        arena.view(place.offset, size)[:] = oid[-1:] * size
        handlers[objects.StoreSeal](me, objects.StoreSeal(oid, size))
    assert manager.spilled >= 4 * size
    for oid in oids:
        found = ask(objects.Fetch([oid]))
        assert bytes(arena.view(found.offset, size)) == oid[-1:] * size
        handlers[objects.Unpin](me, objects.Unpin([oid]))
    handlers[objects.Free](me, objects.Free(oids))
    assert manager.used == manager.spilled == 0
    manager.close()
    arena.close()
