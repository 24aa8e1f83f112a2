"""The options of a node, checked before anything is started.

Filled in by the CLI, by `init` (through `embedded`) and by `cluster`; read by `node_config`.
Every error names the option as the user wrote it, and says what to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.wire.feasibility import END_LABEL

PREDEFINED = ("CPU", "GPU", "memory", "object_store_memory")
# Amounts are sent as integers in units of 1/10000, in 64 bits.
_MOST = 2**63 / 10_000 - 1
_SMALLEST_STORE = 1 << 20


@dataclass(frozen=True)
class NodeOptions:
    """One node as the user wants it; None means: whatever this machine and allocation provide.

    Memory is in bytes.  `interface` names interfaces, addresses or subnets, `node_ip` the single
    address; `ports` restricts every listener of the node; `session_dir` is where its private
    directory is created; `node_name` is shown instead of the machine's name.
    """

    num_cpus: int | None = None
    num_gpus: int | None = None
    memory: int | None = None
    object_store_memory: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    node_ip: str | None = None
    interface: str | None = None
    ports: tuple[int, int] | None = None
    session_dir: str | None = None
    node_name: str | None = None


def check_options(options: NodeOptions, *, listeners: int = 1) -> None:
    """Reject options that no node can satisfy.

    Args:
        listeners: how many ports the node needs.

    Raises:
        LaunchError: naming the option.
    """
    _check_number("--num-cpus", options.num_cpus, smallest=0)
    _check_number("--num-gpus", options.num_gpus, smallest=0)
    _check_number("--memory", options.memory, smallest=1)
    _check_number("--object-store-memory", options.object_store_memory, smallest=_SMALLEST_STORE)
    for name, amount in options.resources.items():
        _check_resource(name, amount)
    for key, value in options.labels.items():
        if not key or not all(isinstance(each, str) for each in (key, value)):
            raise wrong(f"--labels: {key!r}={value!r} is not a pair of texts like zone=a")
    end = options.labels.get(END_LABEL, "0")
    if not end.isdecimal() or len(end) > 11:
        raise wrong(f"--labels: {END_LABEL} is a number of seconds since 1970, not {end!r}")
    _check_ports(options.ports, listeners)


def wrong(message: str) -> LaunchError:
    """The error for an invalid option."""
    return LaunchError(message, ExitCode.CONFIGURATION)


def _check_number(name: str, value: int | None, *, smallest: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(f"{name} takes a whole number, not {value!r}")
    if value < smallest:
        raise wrong(f"{name} is {value}; it must be at least {smallest}")
    if value > _MOST:
        raise wrong(f"{name} is {value}, more than any machine has")


def _check_resource(name: str, amount: object) -> None:
    if name in PREDEFINED:
        option = name.lower().replace("_", "-")
        option = {"cpu": "num-cpus", "gpu": "num-gpus"}.get(option, option)
        raise wrong(f"--resources cannot set {name}: use --{option}")
    if not name or not isinstance(name, str):
        raise wrong(f"--resources: {name!r} is not a valid resource name")
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise wrong(f"--resources: the amount of {name} is {amount!r}, not a number")
    if not math.isfinite(amount) or not 0 <= amount < _MOST:
        raise wrong(f"--resources: the amount of {name} is {amount}; it must be 0 or more")


def _check_ports(ports: tuple[int, int] | None, listeners: int) -> None:
    if ports is None:
        return
    first, last = ports
    if not 0 < first <= last < 65536:
        raise wrong(f"--port-range {first}-{last} is not a range of ports like 20000-20100")
    if last - first + 1 < listeners:
        raise wrong(
            f"--port-range {first}-{last} has {last - first + 1} port(s) and this node needs "
            f"{listeners}: give it at least {listeners} (more if others use some of them)"
        )
