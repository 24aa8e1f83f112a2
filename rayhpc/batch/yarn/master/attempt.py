"""One attempt of an application: register, run `loop`, tell YARN how it ended.

Used by `__main__` in a container and by `unmanaged` in the user's own process.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rayhpc.batch.yarn.application import EXIT_CODE, Application, Resource
from rayhpc.batch.yarn.master.gang import Gang, GangOptions
from rayhpc.batch.yarn.master.loop import GivenUpError, Loop, Outcome, final_status
from rayhpc.batch.yarn.master.rank_zero import RankZero
from rayhpc.batch.yarn.master.wakeup import Wakeup
from rayhpc.exit_codes import ExitCode
from rayhpc.hadoop.errors import HadoopError
from rayhpc.hadoop.master import Master
from rayhpc.hadoop.resources import Size
from rayhpc.hadoop.tokens import Credentials, Token


@dataclass(frozen=True)
class Attempt:
    """The parts of one attempt.

    `own_host` is where rank 0 runs: no other container is wanted there.
    """

    application: Application
    resources: Sequence[Resource]
    managers: Sequence[tuple[str, int]]
    token: Token
    credentials: Credentials
    own_host: str
    rank_zero: RankZero
    wakeup: Wakeup

    def run(self) -> int:
        """Run until the end; returns the program's exit code."""
        wanted = self.application
        master = Master(self.managers, self.token, patience_s=wanted.patience_s, say=say)
        gang = Gang(
            GangOptions(
                wanted.nodes, wanted.needed, restarts=wanted.restarts, gather_s=wanted.gather_s
            ),
            self.own_host,
        )
        loop = Loop(
            wanted,
            self.resources,
            master,
            gang,
            self.credentials,
            self.rank_zero,
            self.wakeup,
            say,
        )
        master.pause = loop.pause
        try:
            answer = master.register(self.own_host, 0)
            loop.queue = answer.queue
            most = Size.of(answer.maximumCapability)
            excess = Size(wanted.memory_mib, wanted.vcores, wanted.gpus).beyond(most)
            inherited = answer.containers_from_previous_attempts
            if inherited:
                say(f"containers left by the attempt before: {len(inherited)}; they are taken over")
            outcome = loop.run(inherited) if not excess else _too_large(self.rank_zero, excess)
            sys.stdout.flush()
            sys.stderr.flush()
            diagnostics = f"{outcome.text} ({EXIT_CODE}{outcome.code})"
            master.finish(final_status(outcome.code), diagnostics)
        except GivenUpError as error:
            say(f"this attempt has been given up: {error}")
            return int(ExitCode.CANCELLED)
        except HadoopError as error:
            say(str(error))
            self.rank_zero.end(0.0)
            return int(ExitCode.SCHEDULER)
        return outcome.code


def say(text: str) -> None:
    """Show a message to the user, beside rank 0's output."""
    print(f"rayhpc: {text}", file=sys.stderr, flush=True)


def _too_large(rank_zero: RankZero, excess: list[str]) -> Outcome:
    rank_zero.end(0.0)
    return Outcome(ExitCode.CONFIGURATION, "; ".join(excess))
