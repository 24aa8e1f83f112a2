"""`rayhpc microbenchmark`: Ray's own rows on rayhpc, with a process pool and memcpy beside them.

Called by users who want to know, and by the page `docs/explanation/performance.md`, whose table it
prints.  Starts an embedded cluster of its own and ends it.
"""

from __future__ import annotations

import json
import os
import platform
import time
from typing import Any

import click


@click.command()
@click.option("--num-cpus", type=int, default=None, help="Workers; by default what we may use.")
@click.option("--seconds", type=float, default=1.0, show_default=True, help="Time for each row.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def microbenchmark(num_cpus: int | None, seconds: float, as_json: bool) -> None:
    """Measure tasks, actors and objects here, beside multiprocessing.Pool and memcpy."""
    import rayhpc
    from rayhpc.util.microbenchmark import Row, Setting, all_rows

    start = time.perf_counter()
    rayhpc.init(num_cpus=num_cpus, log_to_driver=False)
    workers = int(rayhpc.cluster_resources()["CPU"])
    first = rayhpc.get(rayhpc.remote(platform.node).remote())
    rows = [Row("init to first result", time.perf_counter() - start, "s", note=first)]
    show = _print_nothing if as_json else _print_row
    try:
        show(rows[0])
        for row in all_rows(Setting(workers, seconds)):
            rows.append(row)
            show(row)
    finally:
        rayhpc.shutdown()
    if as_json:
        click.echo(json.dumps(_document(rows, workers), indent=2))


def _print_nothing(row: Any) -> None:
    """For `--json`: everything comes at the end."""


def _print_row(row: Any) -> None:
    beside = "" if row.beside is None else f"{row.beside:>12,.2f} {row.beside_name}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    note = f"  {row.note}" if row.note else ""
    click.echo(
        f"{row.name:<45} {row.value:>12,.2f} {row.unit:<8}{beside:<20}{ratio:>8}{note}"
    )


def _document(rows: list[Any], workers: int) -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "workers": workers,
        "rows": [
            {
                "name": x.name,
                "value": x.value,
                "unit": x.unit,
                "beside": x.beside,
                "beside_name": x.beside_name,
                "ratio": x.ratio,
                "note": x.note,
            }
            for x in rows
        ],
    }
