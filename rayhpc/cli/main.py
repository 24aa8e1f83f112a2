"""The command `rayhpc`: its groups of commands, and how errors end a command.

The console script calls `main`.  A command's module is imported only when the command is called,
so that help and `submit --dry-run` start at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import click

from rayhpc.exit_codes import ExitCode, LaunchError

_MOST_CHARACTERS = 4000
# Name → (module, attribute, what it does, group), in the order of the help.
COMMANDS: dict[str, tuple[str, str, str, str]] = {
    "submit": (
        "submit",
        "submit",
        "Run a program on a cluster of its own, as a batch job.",
        "Jobs",
    ),
    "jobs": ("jobs", "jobs", "List your jobs.", "Jobs"),
    "logs": ("logs", "logs", "Show a job's output.", "Jobs"),
    "report": ("report", "report", "Show what a job did, as one HTML file.", "Jobs"),
    "explain": ("explain", "explain", "Say why a job is pending, or how it ended.", "Jobs"),
    "wait": ("wait", "wait", "Wait for jobs to end.", "Jobs"),
    "cancel": ("cancel", "cancel", "Cancel jobs.", "Jobs"),
    "attach": ("attach", "attach", "Open a Python connected to a running job.", "Jobs"),
    "exec": ("exec", "exec_", "Run a command on a job's first node.", "Jobs"),
    "forward": ("forward", "forward", "Show how to reach a job from a laptop.", "Jobs"),
    "template": ("template", "template", "Show ready-made job scripts and templates.", "Jobs"),
    "profile": ("profile", "profile", "List, show and choose profiles.", "Jobs"),
    "up": ("up", "up", "Create or update a cluster of machines from Ray's YAML.", "Clusters"),
    "down": ("down", "down", "End a cluster that `up` has made.", "Clusters"),
    "sweep": ("sweep", "sweep", "End machines that nobody looks after any more.", "Clusters"),
    "resume": ("resume", "resume", "Ask for a paused node type again.", "Clusters"),
    "monitor": ("monitor", "monitor", "Follow the head's logs of such a cluster.", "Clusters"),
    "rsync-up": ("rsync", "rsync_up", "Copy files to such a cluster's machines.", "Clusters"),
    "rsync-down": ("rsync", "rsync_down", "Copy files from its head's machine.", "Clusters"),
    "get-head-ip": (
        "cluster_addresses",
        "get_head_ip",
        "Print its head's address.",
        "Clusters",
    ),
    "get-worker-ips": (
        "cluster_addresses",
        "get_worker_ips",
        "Print its workers' addresses.",
        "Clusters",
    ),
    "run": ("run", "run", "Run one rank: what a launcher starts on every node.", "Clusters"),
    "start": ("start", "start", "Start a head on this machine, or join one.", "Clusters"),
    "stop": ("stop", "stop", "End your sessions on this machine.", "Clusters"),
    "status": ("status", "status", "Show a cluster's nodes and activity.", "Clusters"),
    "top": ("top", "top", "Show what a cluster does now, on a terminal.", "Clusters"),
    "dashboard": (
        "dashboard",
        "dashboard",
        "Show what a cluster does now, in a browser.",
        "Clusters",
    ),
    "list": ("listing", "list_", "List nodes, actors, tasks, objects, …", "Clusters"),
    "memory": ("listing", "memory", "Show what occupies the object stores.", "Clusters"),
    "metrics": ("metrics", "metrics", "Write metrics in Prometheus text format.", "Clusters"),
    "timeline": ("listing", "timeline", "Write a Chrome trace of the tasks.", "Clusters"),
    "doctor": ("doctor", "doctor", "Show what this machine or allocation offers.", "This machine"),
    "microbenchmark": (
        "microbenchmark",
        "microbenchmark",
        "Measure speed on this machine, beside multiprocessing.",
        "This machine",
    ),
}
# Called by rayhpc itself on other machines, and in no help.
_HIDDEN = {"_machine": ("machine", "machine")}


class Commands(click.Group):
    """A group that imports a command's module only when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None if there is none."""
        row = _HIDDEN.get(cmd_name) or COMMANDS.get(cmd_name)
        if row is None:
            return None
        module, attribute = row[:2]
        command: click.Command = getattr(importlib.import_module(f"rayhpc.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, but the error suggests the closest name."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in {**COMMANDS, **_HIDDEN}:
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "`rayhpc --help` lists them all."
            raise click.UsageError(f"there is no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by group, without importing any of them."""
        groups = dict.fromkeys(group for _, _, _, group in COMMANDS.values())
        for group in groups:
            rows = [(name, row[2]) for name, row in COMMANDS.items() if row[3] == group]
            with formatter.section(group):
                formatter.write_dl(rows)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from rayhpc.launch.node_config import rayhpc_version

        click.echo(f"rayhpc {rayhpc_version()}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Ray's programming model on batch clusters: start clusters, run programs, inspect them."""


def main(args: list[str] | None = None, prog_name: str = "rayhpc") -> NoReturn:
    """Run one command and end the process with its exit code.

    Args:
        args: the words after the program's name; None: those of this process.
        prog_name: what usage lines call it.
    """
    try:
        code = cli.main(args, prog_name=prog_name, standalone_mode=False)
    except click.UsageError as error:
        click.UsageError(_shortened(error.format_message()), error.ctx).show()
        sys.exit(ExitCode.CONFIGURATION)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)  # whoever was reading our output has gone
    except (LaunchError, ConnectionError) as error:
        _say(_shortened(str(error)))
        sys.exit(getattr(error, "code", ExitCode.INTERNAL))
    except OSError as error:  # a file or directory that the user named
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        _say(f"{_shortened(where)}{error.strerror or error}")
        sys.exit(ExitCode.CONFIGURATION)
    sys.exit(code if isinstance(code, int) else 0)


def _say(sentence: str) -> None:
    from rayhpc.cli.saying import say

    say(sentence)


def _shortened(message: str) -> str:
    """A message with the middle of any very long value (say a megabyte) cut out."""
    if len(message) <= _MOST_CHARACTERS:
        return message
    return f"{message[: _MOST_CHARACTERS // 2]} […] {message[-_MOST_CHARACTERS // 2 :]}"


if __name__ == "__main__":
    main()
