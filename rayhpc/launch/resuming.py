"""Has the head of a cluster started again by hand, on its node.

Used by `cli.start`.  The node's own process does it (`head_keeper`): it alone has the cluster's
secrets, and knows whether the head is really gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import sessions
from rayhpc.launch.observer import Observer, attach
from rayhpc.wire.bootstrap import RESUME


def resume_head(environ: Mapping[str, str]) -> str:
    """Resume the head of this user's cluster on this machine; returns its address.

    Raises:
        SessionNotFoundError: there is no such cluster, or there are several.
        LaunchError: its head is on another machine, is running, or cannot come back.
    """
    record = sessions.find("auto", environ)
    if not record.is_head:
        raise LaunchError(
            f"the head of the cluster at {record.address} is on another machine: resume it there",
            ExitCode.CONFIGURATION,
        )
    _, connection = attach(record.session_dir, RESUME)
    connection.close()
    with Observer(record.session_dir) as observer:
        observer.state()
    return record.address
