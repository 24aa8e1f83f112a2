"""The ApplicationMaster beside the user's command, without a container of its own ("unmanaged").

Started by `jobs` for `--yarn --unmanaged` as a child of `rayhpc submit`: rank 0 and the program run
on this machine, all other ranks in containers.  So there is one container less to wait for, and the
program runs where its user is.  It ends with the command that started it.

Does not work with Kerberos: the ResourceManager gives the ApplicationMaster's token only to a
caller whose full name, including the realm, is the application's user.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from rayhpc.batch.folder import VARIABLE, JobFolder
from rayhpc.batch.yarn.application import (
    FILE,
    RESOURCES,
    Application,
    Resource,
    decode,
    decode_resources,
    encode_resources,
)
from rayhpc.batch.yarn.container import run_command, run_environment, working_directory
from rayhpc.batch.yarn.launching import SUBMITTED_MS, container_environment
from rayhpc.batch.yarn.link import TOKEN_FILE
from rayhpc.batch.yarn.master.attempt import Attempt, say
from rayhpc.batch.yarn.master.rank_zero import RankZero, save_tokens
from rayhpc.batch.yarn.master.wakeup import Wakeup
from rayhpc.batch.yarn.session import Session
from rayhpc.exit_codes import ExitCode
from rayhpc.hadoop.client import ENDED
from rayhpc.hadoop.errors import HadoopError
from rayhpc.hadoop.ids import container_name, parse_application
from rayhpc.hadoop.messages.records import ApplicationAttemptIdProto, ContainerIdProto
from rayhpc.hadoop.resource_managers import MASTERS, addresses
from rayhpc.hadoop.tokens import Credentials, Token
from rayhpc.machine.processes import die_with_parent

_TOKEN_S = 60.0
_TOKEN_PAUSE_S = 0.05


def start(
    folder: JobFolder, job: str, application: Application, resources: list[Resource]
) -> subprocess.Popen[bytes]:
    """Start it for a submitted application; its output is the job's."""
    (folder.path / FILE).write_bytes(application.encode())
    (folder.path / RESOURCES).write_bytes(encode_resources(resources))
    me = os.getpid()

    def prepare() -> None:
        os.setpgid(0, 0)  # Ctrl-C is forwarded by the command
        if not die_with_parent(me, signal.SIGTERM):
            os._exit(128 + signal.SIGTERM)

    with (
        open(folder.output("stdout"), "ab") as stdout,
        open(folder.output("stderr"), "ab") as stderr,
    ):
        return subprocess.Popen(
            [sys.executable, "-m", "rayhpc.batch.yarn.unmanaged", job],
            cwd=folder.path,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            # It has just been submitted.
            env={**os.environ, SUBMITTED_MS: f"{time.time() * 1000:.0f}"},
            # Safe although it runs Python after the fork: this command is single-threaded.
            preexec_fn=prepare,  # noqa: PLW1509
        )


def main() -> int:
    """The child process: get the token, run as the ApplicationMaster."""
    application = decode(Path(FILE).read_bytes())
    try:
        with Wakeup() as wakeup:
            rank_zero = _start_rank_zero(application, sys.argv[1])
            session = Session(os.environ, say)
            attempt = Attempt(
                application=application,
                resources=decode_resources(Path(RESOURCES).read_bytes()),
                managers=addresses(session.configuration, MASTERS),
                token=_wait_for_token(session, sys.argv[1]),
                credentials=Credentials(),
                own_host=socket.gethostname(),
                rank_zero=rank_zero,
                wakeup=wakeup,
            )
            return attempt.run()
    except HadoopError as error:
        say(str(error))
        return int(ExitCode.SCHEDULER)


def _wait_for_token(session: Session, job: str) -> Token:
    number = parse_application(job)
    deadline = time.monotonic() + _TOKEN_S
    while time.monotonic() < deadline:
        report = session.client.report(number)
        if report.am_rm_token is not None and report.am_rm_token.password:
            return Token.of(report.am_rm_token)
        if report.yarn_application_state in ENDED:
            raise HadoopError(report.diagnostics)
        time.sleep(_TOKEN_PAUSE_S)
    raise HadoopError(
        f"YARN has given no token for {job} within {_TOKEN_S:g} s: is its queue full?"
    )


def _start_rank_zero(application: Application, job: str) -> RankZero:
    number = parse_application(job)
    # No container has this number; YARN's own start at 1.
    container = ContainerIdProto(
        app_id=number,
        app_attempt_id=ApplicationAttemptIdProto(application_id=number, attemptId=1),
    )
    memory_mib = application.memory_mib
    own = container_environment(application, 0, memory_mib, environ=os.environ)
    environ = {
        **os.environ,
        **{name: value for name, value in own.items() if name.startswith("RAYHPC_")},
        "CONTAINER_ID": container_name(container),
        "NM_HOST": socket.gethostname(),
        TOKEN_FILE: save_tokens(Credentials(), Path.cwd()),
        VARIABLE: os.getcwd(),
    }
    return RankZero(
        run_command(application, environ),
        run_environment(application, environ),
        working_directory(application),
    )


if __name__ == "__main__":
    sys.exit(main())
