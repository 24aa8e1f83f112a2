"""What follows the death of a process on this node, in the order of `docs/explanation/protocol.md`.

Called by `node` once per process.  The order matters: whoever had work there hears about it before
anyone can be told that the process is gone, and the slot is read before another worker gets it.
"""

from __future__ import annotations

import os
import signal

from rayhpc.raylet.node_parts import NodeParts
from rayhpc.raylet.workers import WorkerProcess
from rayhpc.wire.address import HEAD, Address
from rayhpc.wire.messages import cluster


def worker_ended(node: NodeParts, worker: WorkerProcess, status: int) -> None:
    """A worker's process has ended, with a status in the form waitpid(2) returns it."""
    reason = worker.death or worker.left or in_words(status)
    node.workers.on_dead(worker)
    node.ended_workers.note(worker, reason, exit_code(status))
    node.io.drain_output(worker.number)
    started, unsent = node.io.slots.read(worker.slot)
    node.leases.on_worker_gone(worker, started, unsent, reason)
    node.actors.on_worker_gone(worker, reason)
    node.objects.on_process_died(worker.address, reason)
    node.watches.on_died(worker.address, reason)
    node.leases.on_client_gone(worker.address, reason, at_once=False)
    node.backlogs.on_process_gone(worker.address)
    node.send(HEAD, cluster.ProcessDied(worker.address, reason, False, exit_code(status)))
    node.io.slots.clear(worker.slot)
    node.io.forget_process(worker.address)
    node.workers.on_ended(worker, reason)


def attached_ended(node: NodeParts, address: Address, reason: str, *, is_driver: bool) -> None:
    """A driver (or observer) has ended or left: everything that ran for it ends."""
    node.objects.on_process_died(address, reason)
    node.watches.on_died(address, reason)
    node.leases.on_client_gone(address, reason)
    node.backlogs.on_process_gone(address)
    node.job_over(address)
    node.send(HEAD, cluster.ProcessDied(address, reason, is_driver))
    node.io.forget_process(address)


def exit_code(status: int) -> int:
    """A process's exit code, or the negated number of the signal that ended it."""
    return os.waitstatus_to_exitcode(status)


def in_words(status: int) -> str:
    """How a process ended, in words."""
    code = exit_code(status)
    if code == 0:
        return "it ended by itself"
    if code > 0:
        return f"it ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "an unknown one"
    hint = ""
    if -code == signal.SIGKILL:
        hint = "; if nobody killed it, the kernel did for want of memory"
    elif -code in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT):
        hint = "; a crash in compiled code, the node's log has what it printed last"
    return f"it was killed by signal {-code} ({name}){hint}"
