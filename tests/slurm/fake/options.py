"""The options of sbatch and srun that the fake knows, and `#SBATCH` lines as SLURM reads them."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import NoReturn

from tests.slurm.fake.settings import Settings


class Parser(argparse.ArgumentParser):
    """Refuses like SLURM: in its words, with its exit code."""

    def error(self, message: str) -> NoReturn:
        """Unknown or incomplete options."""
        said = message.replace("unrecognized arguments: ", "unrecognized option '") + "'"
        print(f"{self.prog}: {said}", file=sys.stderr)
        print(f'Try "{self.prog} --help" for more information', file=sys.stderr)
        sys.exit(255)


def _common(parser: Parser) -> None:
    add = parser.add_argument
    add("-N", "--nodes", type=int)
    add("-n", "--ntasks", type=int)
    add("--ntasks-per-node", type=int)
    add("-c", "--cpus-per-task", type=int)
    add("--gpus-per-node", default=None)
    add("--mem")
    add("-t", "--time")
    add("-p", "--partition", default="debug")
    add("-A", "--account")
    add("-J", "--job-name")
    add("--export", default="ALL")
    add("-D", "--chdir")
    add("-o", "--output")
    add("-e", "--error")
    add("-k", "--no-kill", action="store_true")
    add("--mpi")
    for name in (
        "--qos",
        "-C --constraint",
        "--reservation",
        "-d --dependency",
        "--signal",
        "--comment",
        "--deadline",
        "--time-min",
    ):
        add(*name.split())
    for name in ("--exclusive", "--requeue", "--no-requeue"):
        add(name, action="store_true")


def sbatch_parser() -> Parser:
    """sbatch's."""
    parser = Parser("sbatch", add_help=False, allow_abbrev=False)
    _common(parser)
    add = parser.add_argument
    add("-a", "--array")
    add("-b", "--begin")
    add("--open-mode", default="truncate")
    for name in ("--parsable", "--test-only"):
        add(name, action="store_true")
    add("-W", "--wait", action="store_true")
    add("script", nargs="?")
    add("arguments", nargs=argparse.REMAINDER)
    return parser


def srun_parser(settings: Settings) -> Parser:
    """srun's, as old as the settings say."""
    parser = Parser("srun", add_help=False, allow_abbrev=False)
    _common(parser)
    add = parser.add_argument
    add("--jobid", type=int)
    add("-r", "--relative", type=int, default=0)
    add("-K", "--kill-on-bad-exit", nargs="?", const="1", default="0")
    add("-W", "--wait", type=int, default=0)
    add("--cpu-bind")
    for name in ("-l --label", "-Q --quiet", "--pty"):
        add(*name.split(), action="store_true")
    if settings.number >= (20, 11):
        add("--overlap", action="store_true")
        add("--exact", action="store_true")
    add("command", nargs=argparse.REMAINDER)
    return parser


def directives(script: str) -> list[str]:
    """The words of the `#SBATCH` lines before the first command."""
    words: list[str] = []
    for line in script.splitlines()[1:]:
        if line.startswith("#SBATCH"):
            words += shlex.split(line[len("#SBATCH") :])
        elif line.strip() and not line.startswith("#"):
            break
    return words


def minutes(text: str | None) -> float:
    """A time limit in minutes; a year without one."""
    if not text or text.upper() in ("UNLIMITED", "INFINITE"):
        return 525_600.0
    days, _, rest = text.rpartition("-")
    parts = [int(each) for each in rest.split(":")]
    if days or len(parts) == 3:
        hours, mins, secs = (*parts, 0, 0)[:3]
    else:
        hours, (mins, secs) = 0, (*parts, 0)[:2]
    return int(days or 0) * 1440 + hours * 60 + mins + secs / 60
