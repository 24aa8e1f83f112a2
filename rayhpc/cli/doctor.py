"""`rayhpc doctor`: what this machine and this allocation offer, and the source of each fact.

Called by users, and by scripts with `--json`.  Read-only: it starts nothing, opens no socket and
creates no directory.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import click

from rayhpc.allocation.advice import advice
from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Fact
from rayhpc.allocation.sizing import NodeSize, size_node
from rayhpc.batch.detect import around, detect
from rayhpc.batch.system import BatchSystem
from rayhpc.launch.drain import decide
from rayhpc.machine import interfaces, limits, memory, scratch
from rayhpc.machine.affinity import format_cpu_list
from rayhpc.machine.crypto import Crypto, read_crypto
from rayhpc.machine.facts import MachineFacts, read_machine
from rayhpc.machine.gpus import Gpus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PACKAGES = ("rayhpc", "pyzmq", "msgspec", "cloudpickle", "psutil", "numpy", "click", "rich")
# From this width on the other candidates get a column of their own.
_WIDE = 110


@dataclass(frozen=True)
class Row:
    """One line; `shown` is the value in words, where the value itself would not be readable.

    A row that repeats another line is not `on_page`, only in the JSON.
    """

    section: str
    name: str
    fact: Fact[Any]
    shown: str | None = None
    on_page: bool = True


@dataclass(frozen=True)
class Report:
    """The whole page."""

    rows: list[Row]
    warnings: list[str]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print every fact as one JSON object.")
def doctor(as_json: bool) -> None:
    """Show what this machine or allocation offers, and where each fact comes from."""
    try:
        report = examine(os.environ)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(to_json(report), indent=2))
        return
    from rich.console import Console

    render(report, Console(highlight=False))


def examine(environ: Mapping[str, str]) -> Report:
    """Look at everything once.

    Raises ValueError, naming the variable, if the scheduler's environment cannot be read.
    """
    machine = read_machine(environ)
    allocation, system = detect(environ, machine), around(environ)
    size = size_node(machine, allocation)
    mine = limits.read_limits(machine.cgroup)
    crypto = read_crypto()
    rows = [
        *_node_rows(size),
        *_allocation_rows(allocation),
        *_end_rows(environ, system),
        *_machine_rows(machine),
        *_network_rows(),
        *_limit_rows(mine),
        *_directory_rows(environ),
        *_software_rows(crypto),
    ]
    warnings = [
        *advice(allocation),
        *system.advice(environ, allocation, size),
        *limits.check_budget(
            mine,
            descriptors=limits.DESCRIPTORS,
            threads=limits.THREADS_PER_CPU * (size.cpus.value + 1),
        ),
        *_directory_warnings(environ),
        *_crypto_warnings(crypto),
    ]
    return Report(rows, warnings)


def to_json(report: Report) -> dict[str, Any]:
    """Sections of facts, each with its value, source and candidates; numbers in base units."""
    document: dict[str, Any] = {}
    for row in report.rows:
        document.setdefault(row.section, {})[row.name] = {
            "value": _plain(row.fact.value),
            "source": row.fact.source,
            "candidates": [
                {"value": _plain(each.value), "source": each.source} for each in row.fact.candidates
            ],
        }
    document["warnings"] = report.warnings
    return document


def render(report: Report, console: Console) -> None:
    """Print the page to fit the console; facts without a source are left out."""
    from rich.padding import Padding
    from rich.text import Text

    wide = console.width >= _WIDE
    table = _empty_table(wide)
    section = ""
    for row in report.rows:
        if row.fact.value is None or not row.on_page:
            continue
        if row.section != section:
            section = row.section
            table.add_section()
            table.add_row(Text(section.capitalize(), style="bold cyan"))
        table.add_row(*_cells(row, wide))
    console.print(table)
    for sentence in report.warnings:
        console.print(Padding(Text.assemble(("warning ", "bold yellow"), sentence), (0, 1)))
    if not report.warnings:
        console.print(Padding(Text("no problems found", style="green"), (0, 1)))


def _empty_table(wide: bool) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.HORIZONTALS, expand=False, pad_edge=True, header_style="dim")
    table.add_column("fact", no_wrap=True)
    table.add_column("value", overflow="fold", max_width=52 if wide else 26)
    table.add_column("decided by", overflow="fold", min_width=14)
    if wide:
        table.add_column("also considered", overflow="fold", style="dim", min_width=16)
    return table


def _cells(row: Row, wide: bool) -> list[Text]:
    """The cells of one line; on a narrow page the other candidates go below the source."""
    from rich.text import Text

    shown = row.shown if row.shown is not None else _words(row.fact.value, row.name)
    others = [f"{_short(each.source)}: {_words(each.value, row.name)}" for each in row.fact.others]
    cells = [Text(f"  {row.name}"), Text(shown, style="bold"), Text(_short(row.fact.source))]
    if wide:
        return [*cells, Text("\n".join(others))]
    for other in others:
        cells[2].append(f"\n{other}", style="dim")
    return cells


def _node_rows(size: NodeSize) -> Iterator[Row]:
    yield Row("node", "CPUs", size.cpus)
    yield Row("node", "GPUs", size.gpus)
    yield Row("node", "memory", size.memory)
    yield Row("node", "object store memory", size.object_store_memory)


def _allocation_rows(allocation: Allocation) -> Iterator[Row]:
    """One line each for places and totals; cpus, gpus and memory are in the node's section."""
    totals = {"rank": "size", "local_rank": "local_size", "node_index": "num_nodes"}
    for name, fact in allocation.facts():
        shown = None
        if name in totals and fact.value is not None:
            shown = f"{fact.value} of {_words(getattr(allocation, totals[name]).value, name)}"
        elif name == "end_time" and fact.value is not None:
            shown = _ends(fact.value)
        on_page = name not in (*totals.values(), "cpus", "gpus", "memory")
        yield Row("allocation", name.replace("_", " "), fact, shown, on_page)


def _end_rows(environ: Mapping[str, str], system: BatchSystem) -> Iterator[Row]:
    """The time a program has between SIGTERM and SIGKILL."""
    wait = system.grace(environ)
    yield Row("allocation", system.grace_name, wait, f"{wait.value:g} s" if wait.value else None)
    decided = decide(None, system, environ)
    source = system.grace_name if decided.after_term < decided.otherwise else "the usual --drain"
    shown = f"{decided.after_term:g} s"
    yield Row("allocation", "time after SIGTERM", Fact(decided.after_term, source), shown)


def _machine_rows(machine: MachineFacts) -> Iterator[Row]:
    shm_total, shm_free = memory.shared_memory_space()
    devices = machine.devices
    facts: list[tuple[str, Any, str]] = [
        ("host", machine.hostname, "hostname"),
        ("kernel", platform.release(), "uname"),
        ("processors online", machine.online_cpus, "sysconf"),
        ("affinity", format_cpu_list(machine.affinity), "sched_getaffinity"),
        ("memory installed", machine.memory.total, "/proc/meminfo"),
        ("memory available", memory.available_here(machine.memory, machine.cgroup), "now"),
        ("memory of /dev/shm", shm_total, f"{_bytes(shm_free)} free"),
        ("control groups", machine.cgroup.version, "/proc/self/mountinfo"),
        ("GPU devices", devices.count, devices.source),
    ]
    for name, value, source in facts:
        yield Row("machine", name, Fact(value, source))


def _network_rows() -> Iterator[Row]:
    """One row per address, in the order in which peers try them."""
    for position, each in enumerate(interfaces.interfaces(), 1):
        address = f"{each.address}/{each.prefix}"
        yield Row("network", f"{position}. {each.name}", Fact(address, f"{each.kind} interface"))


def _limit_rows(mine: limits.Limits) -> Iterator[Row]:
    pairs = (("open files", mine.nofile), ("threads", mine.nproc), ("locked memory", mine.memlock))
    for name, pair in pairs:
        soft, hard = _limit(pair.soft, name), _limit(pair.hard, name)
        shown = soft if soft == hard else f"{soft}, up to {hard}"
        value = {"soft": pair.soft, "hard": pair.hard}
        yield Row("limits", name, Fact(value, "getrlimit"), shown)
    yield Row("limits", "threads of this job", Fact(mine.pids, "cgroup pids.max"))


def _directory_rows(environ: Mapping[str, str]) -> Iterator[Row]:
    base, source = _session_base(environ)
    yield Row("directories", "sessions", Fact(base, source), base or "none is suitable")
    private = scratch.tmp_is_private()
    shown = "private to this job" if private else "shared with the node's other users"
    yield Row("directories", "/tmp", Fact(private, "its owner and mount"), shown)
    for position, each in enumerate(scratch.spill_directories(environ), 1):
        kind = " (in memory)" if each.memory else ""
        shown = f"{each.path}, {_bytes(each.free)} free{kind}"
        yield Row("directories", f"spilling {position}", Fact(each.path, each.source), shown)


def _session_base(environ: Mapping[str, str]) -> tuple[str | None, str]:
    try:
        base = str(scratch.session_base(environ, create=False))
    except OSError as error:
        return None, str(error)
    named = scratch.session_candidates(environ)
    return base, next(each.source for each in named if base.startswith(each.path))


def _directory_warnings(environ: Mapping[str, str]) -> list[str]:
    base, problem = _session_base(environ)
    return [problem] if base is None else []


def _software_rows(crypto: Crypto) -> Iterator[Row]:
    yield Row(
        "software", "Python", Fact(platform.python_version(), platform.python_implementation())
    )
    yield Row("software", "libzmq", Fact(crypto.libzmq, f"pyzmq {crypto.pyzmq}"))
    curve = f"yes, {crypto.microseconds:.0f} µs a key exchange" if crypto.curve else "no"
    yield Row("software", "CURVE", Fact(crypto.curve, crypto.library), curve)
    versions = dict(_versions())
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield Row("software", "packages", Fact(versions, "installed"), shown)


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "missing"


def _crypto_warnings(crypto: Crypto) -> list[str]:
    if not crypto.curve:
        return ["libzmq has no CURVE, so nodes cannot connect: pip install --force-reinstall pyzmq"]
    if crypto.slow:
        spent = f"{crypto.microseconds:.0f} µs where 30 are usual"
        sentence = (
            f"libzmq's cryptography ({crypto.library}) takes {spent}, and transfers are as slow: "
            "install pyzmq's own wheel, which includes libsodium "
            "(pip install --force-reinstall --only-binary pyzmq pyzmq)"
        )
        return [sentence]
    return []


def _plain(value: Any) -> Any:
    """A value in a form JSON can carry."""
    if isinstance(value, Gpus):
        return {"ids": list(value.ids), "kind": value.kind, "variable": value.variable}
    return list(value) if isinstance(value, tuple) else value


def _words(value: Any, name: str) -> str:
    """A value in a form people read."""
    if isinstance(value, Gpus):
        return f"{len(value)} ({value.kind} {','.join(value.ids)})" if value.ids else "none"
    if isinstance(value, tuple):
        shown = ", ".join(map(str, value[:8]))
        return shown if len(value) <= 8 else f"{shown}, … ({len(value)} in all)"
    if "memory" in name and isinstance(value, int):
        return _bytes(value)
    return "not known" if value is None else str(value)


def _bytes(number: int) -> str:
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"


def _limit(number: int | None, name: str) -> str:
    return "unlimited" if number is None else _words(number, name)


def _ends(moment: float) -> str:
    minutes = max(0, int(moment - time.time())) // 60
    clock = time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
    return f"{clock}, in {minutes // 60}h{minutes % 60:02}m"


def _short(source: str) -> str:
    """The name of a control group's file; the JSON has the whole path."""
    head, _, tail = source.partition("/sys/fs/cgroup/")
    return f"{head}cgroup {tail.rsplit('/', 1)[-1]}" if tail else source
