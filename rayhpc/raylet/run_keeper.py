"""What the workers of a node have run lately, as they packed it: kept unread until somebody asks.

Used by `reporting`.  The most recent runs are kept, and how many had to go is known.
"""

from __future__ import annotations

from collections import deque

from rayhpc.wire.messages.cluster import ReportRuns, RunPage, TaskRuns

# Reports are put together to chunks of this size: a worker with one task a second makes small ones.
CHUNK_BYTES = 64 * 1024
# An answer is that large at the most, and one chunk: what goes between nodes must not stand in the
# way of others for long.
PAGE_BYTES = 2 * 1024 * 1024


class RunKeeper:
    """The runs of one node.

    Runs are numbered from 0 in the order in which they were reported.

    Args:
        most: how many runs are kept at least, once there have been so many; a chunk more at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # Each with the number of the run after its last.
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._open = bytearray()
        self._end = 0
        self._first = 0
        self._never_came = 0

    def add(self, message: ReportRuns) -> None:
        """A worker tells what it has run."""
        self._open += message.data
        self._end += message.count
        self._never_came += message.dropped
        if len(self._open) >= CHUNK_BYTES:
            self._chunks.append((self._end, bytes(self._open)))
            self._open.clear()
        while self._chunks and self._end - self._chunks[0][0] >= self._most:
            self._first = self._chunks.popleft()[0]

    def page(self, question: TaskRuns) -> RunPage:
        """The runs that are asked for, or the first of them."""
        if question.after >= 0:
            start = question.after
        else:
            start = max(0, self._end - question.limit) if question.limit else 0
        chosen: list[bytes] = []
        size = 0
        dropped = self._first + self._never_came
        for end, chunk in self._chunks:
            if end <= start:
                continue
            chosen.append(chunk)
            size += len(chunk)
            if size >= PAGE_BYTES:
                return RunPage(chosen, dropped, end)
        if self._end > start:
            chosen.append(bytes(self._open))
        return RunPage(chosen, dropped)
