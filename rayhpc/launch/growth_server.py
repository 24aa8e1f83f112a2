"""Answers a planner that is not on the head's machine: what `elastic.loop.Head` says, over a pipe.

Run on the head's machine by `rayhpc _machine grow`, which `rayhpc up --stay` starts over ssh.
Ends with its input.  Asks nothing of its own, and tells no secret.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

import msgspec

from rayhpc.exit_codes import LaunchError
from rayhpc.launch.elastic import ClusterHead
from rayhpc.launch.observer import Operator
from rayhpc.wire.messages.elastic import ElasticStatus, Moment
from rayhpc.wire.messages.growth import GrowthAnswer, GrowthCall


def serve(session_dir: str, calls: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until there are no more calls.

    Raises:
        LaunchError: the node does not let us in.
    """
    with Operator(session_dir) as operator:
        methods = _methods(ClusterHead(operator))
        for line in calls:
            call = msgspec.json.decode(line, type=GrowthCall)
            answers.write(msgspec.json.encode(_answer(methods[call.what], call)) + b"\n")
            answers.flush()


def _answer(method: Callable[[GrowthCall], Any], call: GrowthCall) -> GrowthAnswer:
    try:
        return GrowthAnswer(result=msgspec.msgpack.encode(method(call)))
    except LaunchError as error:
        return GrowthAnswer(error=str(error), code=int(error.code))


def _methods(head: ClusterHead) -> dict[str, Callable[[GrowthCall], Any]]:
    return {
        "load": lambda _: head.load(),
        "floor": lambda _: head.floor(),
        "resumed": lambda _: head.resumed(),
        "drain": lambda call: head.drain(call.argument),
        "undrain": lambda call: head.undrain(call.argument),
        "remember": lambda call: head.remember(call.data),
        "remembered": lambda _: head.remembered(),
        "keep_history": lambda call: head.keep_history(
            msgspec.json.decode(call.data, type=list[Moment])
        ),
        "history": lambda _: head.history(),
        "show": lambda call: head.show(msgspec.json.decode(call.data, type=ElasticStatus)),
    }
