"""The command `ray` of a program that rayhpc serves: rayhpc's own commands under Ray's name.

Called by `bin/ray`.  Commands that only Ray has end by naming an alternative; options for Ray's own
processes are accepted without effect, which is reported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from rayhpc.compat import shim
from rayhpc.compat.not_served import alternative_to
from rayhpc.exit_codes import ExitCode

# rayhpc has these under another name, or in Python.
_ELSEWHERE = {
    "summary": "rayhpc list tasks, or rayhpc.util.state.summarize_tasks()",
    "get": "rayhpc list, or rayhpc.util.state.get_task() and its siblings",
    "logs": "rayhpc logs (of a job), or the folder logs/ of the session that rayhpc status --json "
    "names",
    "job": "rayhpc submit, rayhpc jobs, rayhpc logs, rayhpc cancel",
    "dashboard": alternative_to("ray.dashboard") or "",
    "serve": alternative_to("ray.serve") or "",
    "stack": "py-spy dump --pid PID, with the pids of rayhpc list workers",
    "debug": alternative_to("ray.util.rpdb") or "",
}
# Options for Ray's own processes, and whether a value follows.
_WITHOUT_EFFECT = {
    "start": {
        **dict.fromkeys(
            (
                *("--dashboard-host", "--dashboard-port", "--include-dashboard", "--log-style"),
                *("--dashboard-agent-listen-port", "--dashboard-agent-grpc-port", "--log-color"),
                *("--dashboard-grpc-port", "--runtime-env-agent-port", "--metrics-export-port"),
                *("--node-name", "--redis-password", "--redis-username", "--plasma-directory"),
                *("--ray-client-server-port", "--node-manager-port", "--object-manager-port"),
                *("--min-worker-port", "--max-worker-port", "--worker-port-list", "--temp-dir"),
                *("--autoscaling-config", "--object-spilling-directory", "--ray-debugger-external"),
            ),
            True,
        ),
        **dict.fromkeys(("--disable-usage-stats", "--no-monitor", "--verbose", "-v"), False),
    },
    "stop": dict.fromkeys(("--force", "-f", "--verbose", "-v"), False),
    "status": {"--redis_password": True, "--verbose": False, "-v": False},
    **dict.fromkeys(
        ("up", "down", "exec", "attach", "submit", "rsync-up", "rsync-down", "monitor"),
        dict.fromkeys(
            (
                *("--no-config-cache", "--redirect-command-output", "--use-login-shells"),
                *("--use-normal-shells", "--disable-usage-stats", "--log-new-style"),
            ),
            False,
        ),
    ),
}
_SAME = {"stop": {"--grace-period": "--grace", "-g": "--grace"}}
# Ray takes both spellings.
_SPELT = {name.replace("-", "_"): name for name in ("rsync-up", "rsync-down")}
_SPELT |= {name.replace("-", "_"): name for name in ("get-head-ip", "get-worker-ips")}
_FLAGS_TOO = ("--include-dashboard", "--ray-debugger-external")


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code."""
    words = list(sys.argv[1:] if args is None else args)
    if words[:1] in (["--version"], ["version"]):
        print(f"ray, version {shim.RAY_VERSION} (served by rayhpc)")
        sys.exit(0)
    name = words[0] if words else "--help"
    name = _SPELT.get(name, name)
    if name in _ELSEWHERE:
        _say(f"rayhpc does not serve `ray {name}`; use {_ELSEWHERE[name]}")
        sys.exit(ExitCode.CONFIGURATION)
    from rayhpc.cli import main as cli

    cli.main([name, *_understood(name, words[1:])], prog_name="ray")


def _understood(name: str, words: list[str]) -> list[str]:
    """The words that rayhpc's command of that name accepts."""
    without_effect = _WITHOUT_EFFECT.get(name, {})
    same = _SAME.get(name, {})
    kept: list[str] = []
    dropped: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        option, has_value, _ = word.partition("=")
        if option in without_effect:
            dropped.append(option)
            takes_value = without_effect[option] and not has_value
            is_flag = option in _FLAGS_TOO and waiting[:1] and waiting[0].startswith("-")
            if takes_value and waiting and not is_flag:
                waiting.pop(0)
        else:
            kept.append(word.replace(option, same[option], 1) if option in same else word)
    if dropped:
        _say(f"{', '.join(dropped)} of `ray {name}`: without effect here")
    return kept


def _say(sentence: str) -> None:
    print(f"ray: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    main()
