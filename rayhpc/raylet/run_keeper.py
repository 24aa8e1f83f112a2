"""What a node's workers have run recently, as they packed it: kept unread until someone asks.

Used by `reporting`.  The most recent runs are kept, and the number of dropped ones is known.
"""

from __future__ import annotations

from collections import deque

from rayhpc.wire.messages.task_runs import ReportRuns, RunPage, TaskRuns

# Reports are combined into chunks of this size: a worker with one task a second sends small ones.
CHUNK_BYTES = 64 * 1024
# The size limit of an answer, plus one chunk: traffic between nodes must not hold up other traffic
# for long.
PAGE_BYTES = 2 * 1024 * 1024


class RunKeeper:
    """The runs of one node.

    Runs are numbered from 0 in the order in which they were reported.

    Args:
        most: at least this many runs are kept, once there have been so many; at most a chunk more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # Each with the number of the run after its last.
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._open = bytearray()
        self._end = 0
        self._first = 0
        # How many bytes have been reported, those of forgotten runs included.
        self._position = 0
        self._never_came = 0

    def add(self, message: ReportRuns) -> None:
        """A worker reports what it has run."""
        self._open += message.data
        self._position += len(message.data)
        self._end += message.count
        self._never_came += message.dropped
        if len(self._open) >= CHUNK_BYTES:
            self._chunks.append((self._end, bytes(self._open)))
            self._open.clear()
        while self._chunks and self._end - self._chunks[0][0] >= self._most:
            self._first = self._chunks.popleft()[0]

    def page(self, question: TaskRuns) -> RunPage:
        """The requested runs, or the first of them."""
        if question.since >= 0:
            return self._news(question.since, question.most or PAGE_BYTES)
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
        return RunPage(chosen, dropped, position=self._position)

    def _news(self, since: int, most: int) -> RunPage:
        """What was reported after a position, which is always one between two reports."""
        missing = self._position - since
        parts: list[bytes] = []
        for part in (bytes(self._open), *(chunk for _, chunk in reversed(self._chunks))):
            if missing <= 0:
                break
            parts.append(part[-missing:] if missing < len(part) else part)
            missing -= len(part)
        parts.reverse()
        at = self._position - sum(map(len, parts))
        for count, part in enumerate(parts, 1):
            at += len(part)
            if at - since >= most and count < len(parts):
                del parts[count:]
                break
        following = -1 if at == self._position else 0
        return RunPage(parts, self._first + self._never_came, following, at)
