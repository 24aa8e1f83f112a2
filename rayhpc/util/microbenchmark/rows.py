"""All rows, one after the other.

Called by `cli.microbenchmark` and `tests/bench/vs_ray.py`.  No rate stands alone: the rows named
"mixed" and "crash" are the twins of those of tasks and actors with work of very different length,
and with a worker that dies in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import actors, objects, startup, tasks
from .measuring import Row, Setting


def all_rows(setting: Setting) -> Iterator[Row]:
    """Every row, as it is measured; starts clusters, one after the other, and ends them.

    Args:
        setting: which Ray, how many workers, which rows, and how long one may take.
    """
    yield from startup.import_row(setting)
    yield from startup.start_rows(setting)
    try:
        yield from startup.memory_rows(setting)
        with setting.pool() as pool:
            yield from tasks.rows(setting, pool)
            yield from actors.rows(setting, pool)
        yield from objects.rows(setting)
    finally:
        setting.ray.shutdown()
