"""What an observer may send: questions that change nothing.

Used by the head, the raylets and every process, before they act on a message.  A process is an
observer by its address, which its raylet gave it when it attached as one.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rayhpc.wire.address import Address, is_observer
from rayhpc.wire.messages import cluster
from rayhpc.wire.messages.direct import DirectRefused
from rayhpc.wire.messages.windows import Credit, Flush, Flushed

# Questions that also do something.
_CHANGES = (cluster.KvPut, cluster.KvDelete, cluster.PassOnOutput)
# It has no direct links, and asks for none: a few questions are not worth one.
_FLOW = (Credit, Flush, Flushed, DirectRefused)


def admits(
    source: Address, message: msgspec.Struct, send: Callable[[Address, msgspec.Struct], None]
) -> bool:
    """Whether a process may send a message; whoever may not and waits for an answer is told.

    Args:
        source: the process.
        message: its message.
        send: sends the refusal.
    """
    if not is_observer(source):
        return True
    if not isinstance(message, cluster.Request):
        return isinstance(message, _FLOW)
    if not isinstance(message.question, _CHANGES):
        return True
    name = type(message.question).__name__
    send(source, cluster.Reply(message.token, error=f"An observer only reads: {name} is refused."))
    return False
