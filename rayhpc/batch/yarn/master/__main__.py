"""The process in an application's first container: `python -m rayhpc.batch.yarn.master`.

Starts rank 0 and registers at the same time, keeps the other ranks running (`loop`), and tells YARN
how it ended.  What only the latter needs is loaded while rank 0's interpreter starts: all other
ranks wait for rank 0.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rayhpc.batch.yarn.application import FILE, RESOURCES, Application, decode, decode_resources
from rayhpc.batch.yarn.container import run_command, run_environment, working_directory
from rayhpc.batch.yarn.launching import container_environment
from rayhpc.batch.yarn.link import TOKEN_FILE
from rayhpc.batch.yarn.master.rank_zero import RankZero, save_tokens
from rayhpc.batch.yarn.master.wakeup import Wakeup
from rayhpc.batch.yarn.system import SYSTEM
from rayhpc.hadoop.tokens import AMRM_KIND, Credentials
from rayhpc.machine.shared_uid import hide_memory


def main() -> int:
    """Run one attempt of the application."""
    if SYSTEM.shares_uid(os.environ):
        hide_memory()
    application = decode(Path(FILE).read_bytes())
    credentials = Credentials.load(os.environ[TOKEN_FILE])
    token = credentials.of_kind(AMRM_KIND)
    if token is None:
        print("rayhpc: this container has no token of an ApplicationMaster", file=sys.stderr)
        return 78
    with Wakeup() as wakeup:
        rank_zero = _start_rank_zero(application, credentials)
        from rayhpc.batch.yarn.master.attempt import Attempt

        attempt = Attempt(
            application=application,
            resources=decode_resources(Path(RESOURCES).read_bytes()),
            managers=_managers(application),
            token=token,
            credentials=credentials,
            own_host=os.environ["NM_HOST"],
            rank_zero=rank_zero,
            wakeup=wakeup,
        )
        return attempt.run()


def _start_rank_zero(application: Application, credentials: Credentials) -> RankZero:
    memory_mib = application.memory_mib
    own = container_environment(application, 0, memory_mib, environ=os.environ)
    environ = {name: value for name, value in own.items() if name.startswith("RAYHPC_")}
    environ[TOKEN_FILE] = save_tokens(credentials, Path.cwd())
    return RankZero(
        run_command(application, environ),
        run_environment(application, {**os.environ, **environ}),
        working_directory(application),
    )


def _managers(application: Application) -> list[tuple[str, int]]:
    """The node's own setting first: a federation's nodes name a proxy there."""
    from rayhpc.hadoop.configuration import Configuration
    from rayhpc.hadoop.errors import ConfigurationError
    from rayhpc.hadoop.resource_managers import MASTERS, addresses

    try:
        return addresses(Configuration.of_environment(os.environ), MASTERS)
    except ConfigurationError:
        return list(application.managers)


if __name__ == "__main__":
    sys.exit(main())
