"""Makes the expectations again: `python -m tests.conformance.record --ray PYTHON [program …]`.

PYTHON is an interpreter with the real Ray.  Needs minutes: each of Ray's workers is a new one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.conformance import running


def main() -> None:
    """Run the programs on the real Ray and store what they print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ray", required=True, help="an interpreter that has the real Ray")
    parser.add_argument("programs", nargs="*", help="only these")
    given = parser.parse_args()
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "CONFORMANCE_LIMIT": "200"}
    for name in given.programs or running.names():
        with tempfile.TemporaryDirectory() as folder:
            output = running.run(given.ray, name, quiet, Path(folder))
        (running.EXPECTED / f"{name}.txt").write_text(output)
        print(name, len(running.by_case(output)), "cases", flush=True)


if __name__ == "__main__":
    main()
