"""A rank that cannot start says so, so that nobody waits for it until the timeout.

Used by every part of a rank's start that may fail before its node has joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.rendezvous import Record, Report

if TYPE_CHECKING:
    from rayhpc.launch.run_context import RunContext


def tell(run: RunContext, error: BaseException) -> None:
    """Rank 0 tells all others why there will be no cluster, any other rank tells rank 0.

    Fails silently if the channel itself is what has failed.
    """
    if run.channel is None:
        return
    code = error.code if isinstance(error, LaunchError) else ExitCode.INTERNAL
    host, role = run.place.machine.hostname, run.role
    if not role.is_head:
        run.channel.report(
            Report(rank=role.rank, node=role.node, host=host, error=str(error), code=int(code))
        )
        return
    try:
        run.channel.publish(Record(error=f"rank 0 on {host} gave up: {error}", code=int(code)))
    except LaunchError:
        pass  # they will find out on their own
