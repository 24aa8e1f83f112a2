"""Count the words of many files on many nodes: map, shuffle, reduce.

    rayhpc submit --nodes 3 -- python -m rayhpc.examples.word_count [FOLDER]

Every file of FOLDER (by default: rayhpc's own source) is read by a task; its counts are
split by word among a few reducers, each of which adds up its share.  Prints the ten most frequent
words and which nodes did the work.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import rayhpc as ray

REDUCERS = 4
WORD = re.compile(r"[a-z]{4,}")


@ray.remote(num_returns=REDUCERS)
def count(text: str) -> list[Counter[str]]:
    """The words of one text, one share for each reducer."""
    shares: list[Counter[str]] = [Counter() for _ in range(REDUCERS)]
    for word in WORD.findall(text.lower()):
        shares[sum(word.encode()) % REDUCERS][word] += 1
    return shares


@ray.remote
def add_up(*shares: Counter[str]) -> tuple[Counter[str], str]:
    """One reducer's words, and the node that added them up."""
    return sum(shares, Counter()), ray.util.get_node_ip_address()


def main(folder: Path) -> None:
    """Count and print."""
    ray.init(address="auto")
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".md", ".py", ".txt"))
    shares = [count.remote(path.read_text(errors="replace")) for path in files]
    sums = ray.get([add_up.remote(*column) for column in zip(*shares, strict=True)])
    total: Counter[str] = Counter()
    for part, _ in sums:
        total.update(part)
    nodes = sorted({node for _, node in sums})
    print(f"{len(files)} files, {sum(total.values())} words, added up on {', '.join(nodes)}")
    for word, times in total.most_common(10):
        print(f"{times:7} {word}")


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else here)
