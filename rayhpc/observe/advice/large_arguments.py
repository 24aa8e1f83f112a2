"""The same large value passed to many calls, and sent with each of them."""

from __future__ import annotations

from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.advice.measures import in_bytes
from rayhpc.observe.snapshot import Snapshot

_CALLS_LEAST = 10
_SIZE_LEAST = 1_000_000
_TOTAL_LEAST = 50_000_000
# Serialized, written to the store, read again.
_BYTES_A_SECOND = 0.5e9


def look(snapshot: Snapshot) -> Advice | None:
    """The function whose large arguments had the most bytes in total."""
    if not snapshot.sent:
        return None
    number, sent = max(snapshot.sent.items(), key=lambda item: item[1].size)
    each = sent.size / max(1, sent.calls)
    if sent.calls < _CALLS_LEAST or each < _SIZE_LEAST or sent.size < _TOTAL_LEAST:
        return None
    return Advice(
        "large_arguments",
        f"Arguments of {in_bytes(each)} were sent to {snapshot.functions[number]} {sent.calls:,} "
        f"times, {in_bytes(sent.size)} in all.",
        "If the calls share a value, store it once with put() and give them the reference.",
        max(sent.size / _BYTES_A_SECOND, 0.03 * snapshot.span),
    )
