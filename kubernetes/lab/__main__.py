"""The lab's command line: `python -m kubernetes.lab VERB`, from the repository's folder."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from kubernetes.lab import packages
from kubernetes.lab.errors import LabError
from kubernetes.lab.lab import Lab


def main() -> int:
    """Run one verb; 1 for an error, 3 for a lab that is not well."""
    arguments = _parser().parse_args()
    try:
        code: int = arguments.verb(arguments) or 0
    except LabError as error:
        print(f"kubernetes lab: {error}", file=sys.stderr)
        return 1
    return code


def _folder() -> Path:
    return packages.cache() / "lab"


def _build(arguments: argparse.Namespace) -> None:
    packages.build()


def _up(arguments: argparse.Namespace) -> None:
    if _folder().exists():
        raise LabError("already up: take it down first")
    began = time.monotonic()
    lab = Lab.up(_folder(), tied=False)
    print(f"up in {time.monotonic() - began:.1f} s; kubeconfig {lab.kubeconfig}")


def _down(arguments: argparse.Namespace) -> None:
    Lab.load(_folder()).down()


def _status(arguments: argparse.Namespace) -> int:
    alive = Lab.load(_folder()).alive
    for name, is_alive in alive.items():
        print(f"{name:12} {'runs' if is_alive else 'has ended'}")
    return 0 if all(alive.values()) else 3


def _exec(arguments: argparse.Namespace) -> int:
    command = Lab.load(_folder()).command(arguments.words)
    return subprocess.run(command, check=False).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kubernetes.lab", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, verb, text in (
        ("build", _build, "build the control plane into the cache: ten minutes of one core"),
        ("up", _up, "start it, wait until its nodes are ready"),
        ("exec", _exec, "run a command where it can be reached"),
        ("down", _down, "end everything"),
        ("status", _status, "what runs; 0: all of it, 3: not"),
    ):
        single = verbs.add_parser(name, help=text)
        single.set_defaults(verb=verb)
        if name == "exec":
            single.add_argument("words", nargs=argparse.REMAINDER)
    return parser


if __name__ == "__main__":
    sys.exit(main())
