"""A driver for `test_ends.py`: one worker that has a subprocess, and one task that never ends.

`python holding_driver.py SESSION_DIR VERSION` prints the pids of the worker and its subprocess,
then waits; when the wait fails it prints the error's name and ends with 5.
"""

from __future__ import annotations

import sys

from rayhpc.api.objects.objects import get
from rayhpc.api.tasks.remote import remote
from rayhpc.runtime.process import driver


@remote  # type: ignore[untyped-decorator]
def pids() -> tuple[int, int]:
    import os
    import subprocess

    return os.getpid(), subprocess.Popen(["sleep", "300"]).pid


@remote  # type: ignore[untyped-decorator]
def for_ever() -> None:
    import time

    time.sleep(300)


def main() -> int:
    driver.connect(
        sys.argv[1],
        namespace="",
        environment=b"",
        log_to_driver=True,
        version=sys.argv[2],
    )
    print(*get(pids.remote(), timeout=30), flush=True)
    try:
        get(for_ever.remote())
    except Exception as error:
        print(type(error).__name__, error, flush=True)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
