"""What a report costs: `python -m tests.bench.report_cost [TASKS [NODES]]` prints one row.

The recording is made by `tests.observe.generator`; its making does not count.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from rayhpc.observe import facts, recording
from rayhpc.observe.page import page
from rayhpc.observe.views.everything import views
from tests.observe.generator import large


def main(tasks: int = 1_000_000, nodes: int = 100) -> None:
    """Make the report of that many tasks and say what it took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recording")
        recording.write(large(tasks, nodes), path)
        begin = time.process_time()
        text = page(views(facts.snapshot(recording.read(path))))
        seconds = time.process_time() - begin
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{tasks:,} tasks on {nodes} nodes: {seconds:.2f} s of one core, {len(text):,} bytes, "
            f"from a recording of {path.stat().st_size:,}; {most:,.0f} MiB at the most"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
