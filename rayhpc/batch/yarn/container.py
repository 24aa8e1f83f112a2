"""What every container except the first runs: one rank of the job.

Started by YARN as `python -m rayhpc.batch.yarn.container`.  It runs `rayhpc run` as its child, and
passes its exit code on.  When the head is lost it stays idle for a while, so that the container is
still there for the ApplicationMaster's next attempt to take over.

A NodeManager that ends the process in order to start another one in the container does so only if
the exit code says that its signal did it; any other code ends the container.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rayhpc.batch.yarn.application import FILE, OPTIONS, Application, decode, decode_options
from rayhpc.exit_codes import ExitCode, exit_code_of
from rayhpc.machine.processes import die_with_parent

_ENDINGS = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """Run this container's rank."""
    application = decode(Path(FILE).read_bytes())
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    code = _run(application)
    if code == ExitCode.HEAD_LOST and application.hold_s:
        print(f"rayhpc: this container waits {application.hold_s:g} s for a new head", flush=True)
        arrived = signal.sigtimedwait(_ENDINGS, application.hold_s)
        return code if arrived is None else 128 + arrived.si_signo
    return code


def run_command(application: Application, environ: Mapping[str, str]) -> list[str]:
    """The command `rayhpc run` for any rank."""
    told = environ.get(OPTIONS)
    options = application.options if told is None else decode_options(told)
    words = [sys.executable, "-m", "rayhpc.cli.main", "run", *options]
    words += ["--start-timeout", f"{application.start_timeout_s:g}"]
    if application.needed < application.nodes:
        words += ["--min-nodes", str(application.needed)]
    return [*words, "--", *application.command]


def run_environment(application: Application, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a rank and the program: YARN's variables, then the user's."""
    found = {**environ, **application.environment}
    here = os.getcwd()
    # A localised file is a link, and Python looks for modules beside its target.
    path = [here, *filter(None, [found.get("PYTHONPATH")])]
    # `python train.py` is the interpreter that runs rayhpc, as in an activated environment.
    programs = [os.path.dirname(os.path.abspath(sys.executable)), found.get("PATH", os.defpath)]
    return {
        **found,
        "PYTHONPATH": os.pathsep.join(path),
        "PATH": os.pathsep.join(programs),
    }


def working_directory(application: Application) -> str | None:
    """The program's directory, if this node has it; None: the container's own."""
    return application.directory if os.path.isdir(application.directory) else None


def _run(application: Application) -> int:
    me = os.getpid()

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)
        if not die_with_parent(me, signal.SIGKILL):
            os._exit(128 + signal.SIGKILL)

    process = subprocess.Popen(
        run_command(application, os.environ),
        env=run_environment(application, os.environ),
        cwd=working_directory(application),
        preexec_fn=prepare,  # noqa: PLW1509
    )
    return _wait(process)


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The child's exit code, or that of the signal that told us to end, forwarded to it."""
    told = 0
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while (code := process.poll()) is None:
        arrived = signal.sigtimedwait([*_ENDINGS, signal.SIGCHLD], 10.0)
        if arrived is not None and arrived.si_signo in _ENDINGS:
            told = arrived.si_signo
            process.send_signal(told)
    return 128 + told if told else exit_code_of(code)


if __name__ == "__main__":
    sys.exit(main())
