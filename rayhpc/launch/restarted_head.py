"""`python -m rayhpc.launch.restarted_head`: the head of a cluster whose head has died.

Started by `head_keeper`, which sends what it needs through standard input; that pipe is then the
life pipe.  One line of readiness goes to standard output, which stays open for as long as it lives.
Never reads a secret from arguments or environment.
"""

from __future__ import annotations

import os
import signal
import sys

from rayhpc.head import main as head
from rayhpc.head.config import FOR_GOOD
from rayhpc.launch.node_plan import RestartPlan, receive
from rayhpc.launch.private_fds import keep_private
from rayhpc.machine import process_title
from rayhpc.machine.signals import take_all_again
from rayhpc.wire import keys


def main() -> int:
    """Receive what the head needs and be it; returns the process's exit code."""
    take_all_again()
    for signum in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, _do_nothing)
    os.umask(0o077)
    process_title.prepare()
    process_title.show("rayhpc head")
    life, ready = keep_private(os.dup(0)), os.dup(1)
    # What is printed goes to the node's log.
    keep_private(os.dup(1))
    os.dup2(2, 1)
    plan = receive(life, RestartPlan)
    if plan is None:
        return 0  # the node is gone
    code = head.run(plan.head, ready, life, signals=plan.signals)
    if code in FOR_GOOD:
        # The node's process removes it as well, but may have been killed.
        keys.remove(plan.head.cluster_id)
    return code


def _do_nothing(signum: int, frame: object) -> None:
    """Handler for a signal meant for other processes."""


if __name__ == "__main__":
    sys.exit(main())
