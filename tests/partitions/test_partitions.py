"""Two short scenarios: a cut that nobody may notice, and all connections reset in mid-transfer.

`python -m tests.partitions.run` has all of them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.partitions.network import why_not
from tests.partitions.run import row, run_one

SHORT = ["2 hosts, both ways cut for 1 s", "2 hosts, all connections reset"]

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")


def test_nothing_is_wrong_lost_or_done_twice() -> None:
    with ThreadPoolExecutor(len(SHORT)) as pool:
        outcomes = dict(zip(SHORT, pool.map(run_one, SHORT), strict=True))
    bad = [row(name, outcome) for name, outcome in outcomes.items() if not outcome.is_good]
    assert not bad, "\n".join(bad)
    assert all(outcome.nodes_lost == 0 for outcome in outcomes.values())
