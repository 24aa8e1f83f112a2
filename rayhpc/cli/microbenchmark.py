"""`rayhpc microbenchmark`: Ray's own benchmark on rayhpc, beside a process pool and memcpy.

Called by users, and for the page `docs/explanation/performance.md`, whose table it prints.  Starts
embedded clusters of its own and ends them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from typing import TYPE_CHECKING, Any

import click

from rayhpc.cli.option_types import Seconds

if TYPE_CHECKING:
    from rayhpc.util.microbenchmark.measuring import Row, Setting

NAME, VALUE, UNIT, BESIDE = 45, 11, 9, 24
DIGITS = {"s": 3, "ms": 1, "MiB": 1, "GB/s": 2, "batches/s": 1, "waits/s": 1}


@click.command()
@click.option("--num-cpus", type=click.IntRange(1), help="Workers; default: the usable CPUs.")
@click.option(
    "--seconds",
    type=Seconds(zero=False),
    default=1.0,
    show_default=True,
    help="Time for each row.",
)
@click.option("--only", default="", metavar="TEXT", help="Only rows whose name contains this.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def microbenchmark(num_cpus: int | None, seconds: float, only: str, as_json: bool) -> None:
    """Measure tasks, actors and objects here, beside multiprocessing.Pool and memcpy.

    The last column says by what factor rayhpc's figure is better than the one beside it: a higher
    rate, or a shorter time.
    """
    import rayhpc
    from rayhpc.util.microbenchmark.measuring import Setting
    from rayhpc.util.microbenchmark.rows import all_rows

    setting = Setting(rayhpc, num_cpus or len(os.sched_getaffinity(0)), seconds, only)
    rows = []
    if not as_json:
        _print_head(setting)
    for row in all_rows(setting):
        rows.append(row)
        if not as_json:
            _print_row(row)
    if as_json:
        click.echo(json.dumps(_document(rows, setting), indent=2))


def _print_head(setting: Setting) -> None:
    click.echo(
        f"{setting.workers} workers, Python {platform.python_version()}, "
        f"{os.cpu_count()} CPUs, {platform.machine()}\n"
    )
    line = f"{'':<{NAME}} {'rayhpc':>{VALUE}} {'':<{UNIT}}{'beside':>{BESIDE}}{'ratio':>9}"
    click.secho(line, bold=True)


def _print_row(row: Row) -> None:
    beside, ratio = "", ""
    if row.beside is not None:
        beside = f"{_number(row.beside, row.unit)} {row.beside_name}"
    if row.ratio is not None:
        ratio = click.style(f"{row.ratio:8.2f}x", fg="green" if row.ratio >= 1 else None)
    figure = f"{_number(row.value, row.unit):>{VALUE}} {row.unit:<{UNIT}}"
    note = click.style(f"  {row.note}", dim=True) if row.note else ""
    click.echo(f"{row.name:<{NAME}} {figure}{beside:>{BESIDE}}{ratio}{note}".rstrip())


def _number(value: float, unit: str) -> str:
    return f"{value:,.{DIGITS.get(unit, 0)}f}"


def _document(rows: list[Row], setting: Setting) -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "workers": setting.workers,
        "rows": [{**dataclasses.asdict(x), "ratio": x.ratio} for x in rows],
    }
