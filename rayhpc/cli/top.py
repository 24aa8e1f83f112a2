"""`rayhpc top`: what a cluster does now, on a terminal.

Called by users on any machine with the batch system, and on the cluster's nodes; for a job that
runs elsewhere it calls itself again, with `--here`, on the head's node.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayhpc.cli import observed
from rayhpc.cli.job_access import here_option, job_dir_option
from rayhpc.exit_codes import ExitCode, LaunchError

if TYPE_CHECKING:
    from rayhpc.launch.live_logs import LiveLogs
    from rayhpc.launch.live_look import LiveLook
    from rayhpc.launch.observer import Observer
    from rayhpc.observe.live.now import Now


@click.command()
@observed.job_argument
@observed.address_option
@click.option(
    "--every",
    type=click.FloatRange(0.25, 60),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@here_option
@click.option("--json", "as_json", is_flag=True, help="Print one look as JSON.")
@job_dir_option
def top(
    job: str | None,
    address: str | None,
    every: float,
    here: bool,
    as_json: bool,
    job_dir: Path | None,
) -> int:
    """Show what a cluster does now: functions, nodes, actors, stores, what is pending, logs.

    Without JOB it is your cluster on this node or, if there is none, the last job.
    """
    words = ["top", "--every", f"{every:g}", *(["--json"] if as_json else [])]
    record = observed.session(job, address, here, job_dir, words, is_screen=not as_json)
    if as_json:
        _print_once(record.session_dir, record.address)
        return 0
    if importlib.util.find_spec("textual") is None:
        raise LaunchError(
            "`rayhpc top` draws with Textual, which is not installed: pip install 'rayhpc[top]' "
            "(`rayhpc top --json` and `rayhpc status` need nothing)",
            ExitCode.CONFIGURATION,
        )
    if not sys.stdout.isatty():
        raise LaunchError(
            "`rayhpc top` needs a terminal; `rayhpc top --json` does not", ExitCode.CONFIGURATION
        )
    from rayhpc.cli.terminal.screen import Top

    # Its movements would cost a slow line more than the figures do.
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    observed.give_way()
    error = Top(lambda: _Source(record.session_dir, record.address), every).run(mouse=False)
    if error is not None:
        raise error
    return 0


class _Source:
    """What the screen's thread looks through."""

    def __init__(self, session_dir: str, address: str) -> None:
        from rayhpc.launch.live_logs import LiveLogs
        from rayhpc.launch.live_look import LiveLook
        from rayhpc.launch.observer import Observer

        self._observer: Observer = Observer(session_dir)
        self._look: LiveLook = LiveLook(self._observer, address, time_limit=observed.time_limit())
        self._logs: LiveLogs = LiveLogs(self._observer)

    def look(self) -> Now:
        """What the cluster is and does now."""
        from rayhpc.observe.live.now import now

        return now(self._look.look())

    def log_lines(self) -> list[str]:
        """The lines that are new in the nodes' logs."""
        return [f"{x.node} {x.text}" for x in self._logs.news()]

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self._observer.wait(seconds)

    def close(self) -> None:
        """Leave."""
        self._observer.close()


def _print_once(session_dir: str, address: str) -> None:
    import msgspec

    source = _Source(session_dir, address)
    try:
        found = source.look()
        while found.cluster.behind:
            found = source.look()
    finally:
        source.close()
    click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
