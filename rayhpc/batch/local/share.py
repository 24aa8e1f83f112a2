"""The share that each of several nodes on one machine gets.

Used by `local`.  Processors, memory and GPUs are split evenly unless told otherwise; a node has at
least one processor, so if there are more nodes than processors they share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rayhpc.allocation.sizing import size_node
from rayhpc.batch import values
from rayhpc.batch.detect import detect
from rayhpc.batch.errors import OptionError
from rayhpc.batch.request import JobRequest
from rayhpc.machine.facts import read_machine


@dataclass(frozen=True)
class Share:
    """One node's share; memory in bytes, `gpus` the ids for each node."""

    cpus: int
    memory: int
    gpus: tuple[tuple[str, ...], ...]
    gpu_variable: str

    def options(self) -> list[str]:
        """The share as options of `rayhpc run`."""
        words = ["--num-cpus", str(self.cpus), "--memory", str(self.memory)]
        return [*words, "--num-gpus", str(len(self.gpus[0]))]

    def environ(self, rank: int) -> dict[str, str]:
        """The variable that shows this rank its GPUs; none if the machine has none."""
        ids = self.gpus[rank]
        return {self.gpu_variable: ",".join(ids)} if any(self.gpus) else {}


def share_of(environ: Mapping[str, str], request: JobRequest) -> Share:
    """Each node's share of this machine for `request`.

    Raises OptionError if the machine does not have enough GPUs or memory.
    """
    machine = read_machine(environ)
    whole = size_node(machine, detect(environ, machine))
    cpus = request.cpus_per_node or max(1, whole.cpus.value // request.nodes)
    ids = whole.gpus.value.ids
    each = len(ids) // request.nodes
    if request.gpus_per_node is not None:
        each = values.gpu_count(request.gpus_per_node)
    if each * request.nodes > len(ids):
        raise OptionError(
            f"--gpus-per-node {request.gpus_per_node}: {request.nodes} nodes of {each} are more "
            f"than this machine's {len(ids)} GPUs"
        )
    slices = tuple(ids[rank * each : (rank + 1) * each] for rank in range(request.nodes))
    memory = whole.memory.value // request.nodes
    if request.mem is not None and values.memory_bytes(request.mem):
        memory = values.memory_bytes(request.mem)
    if memory * request.nodes > whole.memory.value:
        raise OptionError(
            f"--mem {request.mem}: {request.nodes} nodes of that are more than this machine's "
            f"{whole.memory.value >> 30} GiB"
        )
    return Share(cpus, memory, slices, whole.gpus.value.variable)
