"""All rows, one after another.

Called by `cli.microbenchmark` and `tests/bench/vs_ray.py`.  No rate stands alone: the rows named
"mixed" and "crash" repeat those for tasks and actors with work of very different length, and with a
worker that dies in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import actors, objects, startup, tasks
from .measuring import Row, Setting

GROUPS = ("start", "tasks", "actors", "objects")


def all_rows(setting: Setting, groups: Sequence[str] = GROUPS) -> Iterator[Row]:
    """Every row, as it is measured; starts clusters, one after another, and ends them.

    Args:
        setting: which Ray, how many workers, which rows, and how long one may take.
        groups: which of GROUPS.
    """
    if "start" in groups:
        yield from startup.import_row(setting)
        yield from startup.start_rows(setting)
    else:
        startup.start(setting)
    try:
        if "start" in groups:
            yield from startup.memory_rows(setting)
        with setting.pool() as pool:
            if "tasks" in groups:
                yield from tasks.rows(setting, pool)
            if "actors" in groups:
                yield from actors.rows(setting, pool)
        if "objects" in groups:
            yield from objects.rows(setting)
    finally:
        setting.ray.shutdown()
