"""One question, or several, to many at once.

Used by what gathers from a whole cluster (`run_history`, `driver`); who is asked alone is asked by
`Process.ask`.  Never fails because somebody does not answer.
"""

from __future__ import annotations

from typing import Any

from rayhpc.runtime.process.process import Process
from rayhpc.wire.address import Address
from rayhpc.wire.messages import cluster

Asked = list[tuple[Address, Any]]


def ask_all(process: Process, asked: Asked, timeout: float) -> dict[Address, bytes]:
    """What all of these answer within `timeout` seconds; who does not is left out."""
    tokens: dict[int, Address] = {}
    with process.lead():
        for address, question in asked:
            token = process.new_token()
            tokens[token] = address
            process.transport.send(address, cluster.Request(token, question))
    process.wait_until(lambda: all(x in process.replies for x in tokens), timeout)
    answers: dict[Address, bytes] = {}
    for token, address in tokens.items():
        reply = process.replies.pop(token, None)
        if reply is not None and not reply.error:
            answers[address] = reply.data
    return answers
