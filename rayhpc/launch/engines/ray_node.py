"""`python -m rayhpc.launch.engines.ray_node`: one node of the real Ray, from start to end.

Started by `real_ray`, which sends the plan through standard input (afterwards the life pipe) and
reads lines from standard output.  It consists of two processes: one keeps the node (`ray_keepers`),
the other only waits for that one's end.  Both are subreapers, and each kills and reaps its children
at the end until there are none, so that whichever of them is killed, all of Ray's processes go.
Nothing else is ever signalled.  Imports no Ray.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import leftovers, sessions
from rayhpc.launch.engines.engine import REAL_RAY
from rayhpc.launch.engines.ray_keepers import (
    HeadKeeper,
    Keeper,
    MemberKeeper,
    OverError,
    do_nothing,
    say,
)
from rayhpc.launch.engines.ray_plan import RayPlan
from rayhpc.launch.engines.ray_process import NOT_FOR_RAY
from rayhpc.launch.node import copy_logs
from rayhpc.launch.node_plan import receive
from rayhpc.machine import affinity, limits, process_title, processes
from rayhpc.machine.signals import take_all_again
from rayhpc.raylet.forkserver_loop import end_children

# The logs of Ray's that say why a node is not as it should be.
_LOGS = ("raylet.*", "gcs_server.*", "*.err")


def main() -> int:
    """Receive a plan and run its node; returns the exit code."""
    take_all_again()
    for number in (*NOT_FOR_RAY, signal.SIGTERM):
        signal.signal(number, do_nothing)
    said, life = os.dup(1), os.dup(0)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)
    plan = receive(life, RayPlan)
    if plan is None:
        return 0  # our starter is gone
    process_title.prepare()
    processes.become_subreaper()
    guard, alive = os.pipe()
    rank = os.getppid()
    keeper = os.fork()
    if keeper == 0:
        os.close(alive)
        _become(_Node(plan, said, life, guard, rank))
    for descriptor in (guard, said, life):
        os.close(descriptor)
    return _guard(keeper, plan)


def _guard(keeper: int, plan: RayPlan) -> int:
    """Wait for the keeper's end, and end what it has left if it was killed."""
    process_title.show("rayhpc ray guard")
    _, status = os.waitpid(keeper, 0)
    end_children()
    leftovers.remove(plan.path)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else int(ExitCode.NODE_LOST)


def _become(node: _Node) -> None:
    """Become the keeper in this whole forked process, and never return."""
    code = int(ExitCode.INTERNAL)
    try:
        code = node.run()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class _Node:
    """One node, from creating its directory to removing it; see `Keeper` for the descriptors."""

    def __init__(self, plan: RayPlan, said: int, life: int, guard: int, rank: int) -> None:
        self._plan = plan
        self._said = said
        self._life = life
        self._guard = guard
        self._rank = rank

    def run(self) -> int:
        """Carry out the plan; returns the exit code, after reporting what went wrong."""
        try:
            return self._run()
        except OverError as over:
            return over.code
        except (LaunchError, OSError) as error:
            message = str(error)
            code = error.code if isinstance(error, LaunchError) else int(ExitCode.PERMISSION)
        except Exception as error:
            traceback.print_exc()
            message, code = f"the node could not start: {error!r}", int(ExitCode.INTERNAL)
        say(self._said, {"error": message, "code": code})
        return code

    def _run(self) -> int:
        plan = self._plan
        processes.become_subreaper()
        process_title.show("rayhpc ray node")
        limits.raise_nofile()
        if plan.affinity:
            affinity.take_cpus(plan.affinity)
        leftovers.sweep(os.environ)
        _, lock = sessions.make_directory(Path(plan.base), plan.name)
        try:
            self._write_record()
            kind: type[Keeper] = HeadKeeper if plan.server is not None else MemberKeeper
            keeper = kind(plan, self._said, self._life, self._guard)
            try:
                return keeper.live()
            finally:
                keeper.close()
        finally:
            end_children()
            self._keep_logs()
            leftovers.remove(plan.path)
            os.close(lock)

    def _write_record(self) -> None:
        """Write it so that what is left after a kill is recognised as dead at once."""
        plan = self._plan
        record = sessions.record_of_this_process(
            plan.path,
            cluster_id=plan.key.cluster_id,
            endpoints=[],
            node_ip=plan.bind[0],
            is_head=False,
            kind=REAL_RAY,
            launcher=(self._rank, processes.start_time(self._rank) or 0),
        )
        sessions.write_record(record)

    def _keep_logs(self) -> None:
        plan = self._plan
        if plan.logs_to:
            prefix = f"{plan.node:05}-{plan.host}"
            logs = plan.path / "ray" / "session_latest" / "logs"
            try:
                found = [path for pattern in _LOGS for path in logs.glob(pattern)]
                copy_logs([plan.path / "logs" / "start.log", *found], Path(plan.logs_to), prefix)
            except OSError as error:
                print(f"cannot copy logs to {plan.logs_to}: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
