"""A worker process from start to end.

`main` is called in the fork server's child (`raylet.forkserver.ENTRY`), in the process's main
thread, which from then on is the worker's.
"""

from __future__ import annotations

import sys

import msgspec

from rayhpc.runtime.process import current
from rayhpc.runtime.process.process import Process
from rayhpc.runtime.process.sockets import Sockets
from rayhpc.runtime.worker import output
from rayhpc.runtime.worker.job_environment import JobEnvironment
from rayhpc.runtime.worker.threads import ProcessThreads
from rayhpc.runtime.worker.worker import Worker
from rayhpc.store.mapping import Mapping
from rayhpc.wire.messages.start import WorkerConfig
from rayhpc.wire.slots import Slot

# Made when the module is loaded, which the fork server does: 1 ms of each worker's start.
_decode = msgspec.msgpack.Decoder(WorkerConfig).decode


def main(worker_number: int, args: bytes) -> None:
    """Run as worker `worker_number` of a node.

    Args:
        worker_number: its process number.
        args: a `WorkerConfig` as msgpack.
    """
    config = _decode(args)
    current.allow_in_forked_worker()
    output.name_lines()
    mapping = Mapping(config.arena_fd, config.arena_bytes, config.spill_fds)
    slot = Slot(config.slots_fd, config.slot)
    threads = ProcessThreads()
    process = Process(config.facts, mapping, Sockets(config.facts))
    worker = Worker(process, slot, threads, JobEnvironment(config.gpu_variable))
    threads.on_signal = worker.is_running_cancelled
    threads.take_sigterm(worker.on_sigterm)
    current.set_client(process.client)
    process.loop.start()
    code = worker.run()
    process.loop.close()
    if code:
        sys.exit(code)
