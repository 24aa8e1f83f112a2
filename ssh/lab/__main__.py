"""The lab's command line: `python -m ssh.lab VERB`, from the repository's folder."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from ssh.lab import packages
from ssh.lab.errors import LabError
from ssh.lab.lab import Lab


def main() -> int:
    """Run one verb; 1 for an error, 3 for a lab that is not well."""
    arguments = _parser().parse_args()
    try:
        code: int = arguments.verb(arguments) or 0
    except LabError as error:
        print(f"ssh lab: {error}", file=sys.stderr)
        return 1
    return code


def _folder() -> Path:
    return packages.cache() / "lab"


def _up(arguments: argparse.Namespace) -> None:
    if _folder().exists():
        raise LabError("already up: take it down first")
    packages.cache().mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    lab = Lab.up(arguments.hosts, _folder(), tied=False)
    hosts = ", ".join(f"{name} {lab.address(name)}" for name in lab.names)
    print(f"up in {time.monotonic() - began:.1f} s: {hosts}; key {lab.key}")


def _down(arguments: argparse.Namespace) -> None:
    Lab.load(_folder()).down()


def _status(arguments: argparse.Namespace) -> int:
    lab = Lab.load(_folder())
    for name in lab.names:
        state = "on" if lab.alive(name) else "off"
        print(f"{name}  {lab.address(name)}  {state}, {len(lab.processes(name))} processes")
    return 0 if all(lab.alive(name) for name in lab.names) else 3


def _run(arguments: argparse.Namespace) -> int:
    """A lab that is there for one command."""
    lab = Lab.up(arguments.hosts)
    try:
        return subprocess.run(lab.command(arguments.words), check=False).returncode
    finally:
        lab.down()


def _exec(arguments: argparse.Namespace) -> int:
    command = Lab.load(_folder()).command(arguments.words)
    return subprocess.run(command, check=False).returncode


def _act(arguments: argparse.Namespace) -> None:
    lab = Lab.load(_folder())
    {"kill": lab.power_off, "boot": lab.boot, "cut": lab.cut, "join": lab.join}[arguments.action](
        arguments.name
    )


def _install(arguments: argparse.Namespace) -> None:
    print(packages.server().program)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ssh.lab", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, verb, text in (
        ("up", _up, "start hosts, wait until they let their user in"),
        ("run", _run, "a lab for one command"),
        ("exec", _exec, "run a command where the hosts can be reached"),
        ("down", _down, "end everything"),
        ("status", _status, "what is on; 0: all of it, 3: not"),
        ("install", _install, "only fetch sshd into the cache"),
    ):
        single = verbs.add_parser(name, help=text)
        single.set_defaults(verb=verb)
        if name in ("up", "run"):
            single.add_argument("--hosts", type=int, default=3)
        if name in ("run", "exec"):
            single.add_argument("words", nargs=argparse.REMAINDER)
    for action, text in (
        ("kill", "power cut"),
        ("boot", "power on"),
        ("cut", "pull a host's cable"),
        ("join", "plug it in again"),
    ):
        single = verbs.add_parser(action, help=text)
        single.add_argument("name")
        single.set_defaults(verb=_act, action=action)
    return parser


if __name__ == "__main__":
    sys.exit(main())
