"""A worker process from its first line to its last.

`main` is called in the fork server's child (`raylet.forkserver.ENTRY`), in the process's main
thread, which from then on is the worker's.
"""

from __future__ import annotations

import signal
import sys

import msgspec

from rayhpc.runtime.process import current
from rayhpc.runtime.worker import output
from rayhpc.runtime.worker.worker import Worker
from rayhpc.store.mapping import Mapping
from rayhpc.wire.messages.start import WorkerConfig
from rayhpc.wire.slots import Slot


def main(worker_number: int, args: bytes) -> None:
    """Be worker `worker_number` of a node.

    Args:
        worker_number: its process number.
        args: a `WorkerConfig` as msgpack.
    """
    config = msgspec.msgpack.decode(args, type=WorkerConfig)
    current.allow_in_forked_worker()
    output.name_lines()
    mapping = Mapping(config.arena_fd, config.arena_bytes)
    slot = Slot(config.slots_fd, config.slot)
    worker = Worker(config.facts, mapping, slot, config.gpu_variable)
    current.set_process(worker)
    signal.signal(signal.SIGURG, lambda *_: worker.cancel_signal())
    worker.start()
    code = worker.run()
    worker.close()
    if code:
        sys.exit(code)
