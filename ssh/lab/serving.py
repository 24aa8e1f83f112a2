"""What the process of a cloud's lab does: its API, what is to go wrong, and the agent.

Called by the servers of the labs of clouds.  It says `ready PORT`, and reads `faults.json` in the
lab's folder; counts there begin anew when the file is written anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ssh.lab.agent import Agent, Seen
from ssh.lab.fake_api import FakeApi

_LOOK_S = 0.1


def serve(
    folder: Path,
    fake: FakeApi,
    agent: Agent,
    go_wrong: Callable[[dict[str, Any]], None],
    machines: Callable[[], Iterable[Seen]],
) -> None:
    """For ever.

    Args:
        folder: the lab's.
        fake: the API, which serves already.
        agent: makes the hosts.
        go_wrong: has it go wrong, in the API's lock.
        machines: what there is, likewise.
    """
    read_at = 0
    file = folder / "faults.json"
    print(f"ready {fake.port}", flush=True)
    while True:
        with fake.lock:
            if file.exists() and file.stat().st_mtime_ns != read_at:
                read_at = file.stat().st_mtime_ns
                go_wrong(json.loads(file.read_text()))
            _log(folder / "requests.log", fake)
            seen = list(machines())
        agent.look(seen)
        time.sleep(_LOOK_S)  # the API tells nobody


def _log(file: Path, fake: FakeApi) -> None:
    if fake.calls:
        with file.open("a") as log:
            log.writelines(f"{name} {status}\n" for name, status in fake.calls)
        fake.calls.clear()
        fake.inserted.clear()
