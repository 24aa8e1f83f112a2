"""The lab's command line: `python -m yarn.lab VERB`, from the repository's folder."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable

from yarn.lab import jars
from yarn.lab.errors import LabError
from yarn.lab.lab import Lab, default_folder, free_net
from yarn.lab.layout import Options


def main() -> int:
    """Run one verb; 1 for an error, 3 for a lab that is not well."""
    arguments = _parser().parse_args()
    verb: Callable[[argparse.Namespace], int | None] = arguments.verb
    try:
        return verb(arguments) or 0
    except LabError as error:
        print(f"yarn lab: {error}", file=sys.stderr)
        return 1


def _up(arguments: argparse.Namespace) -> None:
    options = Options(
        hadoop=arguments.hadoop,
        net=arguments.net or free_net(),
        nodes=arguments.nodes,
        gpus=arguments.gpus,
        hdfs=arguments.hdfs,
        ha=arguments.ha,
        kerberos=arguments.kerberos,
        memory=arguments.memory,
        vcores=arguments.vcores,
        protection=arguments.protection,
        expiry_s=arguments.expiry,
        yarn_site=dict(arguments.set),
        core_site=dict(arguments.core),
    )
    began = time.monotonic()
    lab = Lab.up(default_folder(), options)
    names = ", ".join(lab.layout.daemons)
    print(f"up in {time.monotonic() - began:.1f} s: Hadoop {options.hadoop}, {names}")


def _down(arguments: argparse.Namespace) -> None:
    lab = Lab.load(default_folder())
    for command in lab.down():
        print(f"left by a container: {command[:100]}")
    print(f"down; logs in {lab.layout.run}/logs")


def _status(arguments: argparse.Namespace) -> int:
    lines, complete = Lab.load(default_folder()).status()
    print("\n".join(lines))
    return 0 if complete else 3


def _env(arguments: argparse.Namespace) -> None:
    for name, value in Lab.load(default_folder()).client_environment().items():
        print(f"export {name}={shlex.quote(value)}")


def _exec(arguments: argparse.Namespace) -> None:
    lab = Lab.load(default_folder())
    command = lab.client_command(arguments.command)
    os.execvpe(command[0], command, {**os.environ, **lab.client_environment()})


def _kill(arguments: argparse.Namespace) -> None:
    Lab.load(default_folder()).kill(arguments.name, node=arguments.node)


def _stop(arguments: argparse.Namespace) -> None:
    Lab.load(default_folder()).stop(arguments.name)


def _start(arguments: argparse.Namespace) -> None:
    began = time.monotonic()
    Lab.load(default_folder()).start(arguments.name)
    print(f"{arguments.name} is back after {time.monotonic() - began:.1f} s")


def _jars(arguments: argparse.Namespace) -> None:
    folder = jars.fetch(arguments.hadoop)
    print(f"{len(list(folder.glob('*.jar')))} jars in {folder}")


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m yarn.lab", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_up(verbs.add_parser("up", help="start a cluster, wait until all nodes are running"))
    for name, verb, text in (
        ("down", _down, "end everything; name what containers have left behind"),
        ("status", _status, "what runs; 0: all of it, 3: not"),
        ("env", _env, "shell lines for a client"),
    ):
        verbs.add_parser(name, help=text).set_defaults(verb=verb)
    run = verbs.add_parser("exec", help="run a command where clients are")
    run.add_argument("command", nargs=argparse.REMAINDER)
    run.set_defaults(verb=_exec)
    kill = verbs.add_parser("kill", help="SIGKILL a daemon")
    kill.add_argument("name")
    kill.add_argument("--node", action="store_true", help="its containers, too: a power cut")
    kill.set_defaults(verb=_kill)
    for name, verb, text in (
        ("stop", _stop, "end a daemon in good order"),
        ("start", _start, "start a daemon again, wait until the cluster has it back"),
    ):
        single = verbs.add_parser(name, help=text)
        single.add_argument("name")
        single.set_defaults(verb=verb)
    fetch = verbs.add_parser("jars", help="only fetch the class path (needs Maven)")
    fetch.add_argument("--hadoop", default=jars.DEFAULT_VERSION)
    fetch.set_defaults(verb=_jars)
    return parser


def _add_up(up: argparse.ArgumentParser) -> None:
    add = up.add_argument
    add("--nodes", type=int, default=2, help="NodeManagers (2)")
    add("--hadoop", default=jars.DEFAULT_VERSION, help=f"version ({jars.DEFAULT_VERSION})")
    add("--gpus", type=int, default=0, help="yarn.io/gpu per node, known to the scheduler alone")
    add("--hdfs", action="store_true", help="NameNode and DataNode, the default file system then")
    add("--ha", action="store_true", help="two ResourceManagers and ZooKeeper")
    add("--kerberos", action="store_true", help="a KDC, and nothing without a ticket or token")
    add("--memory", type=int, default=8192, help="MiB that each node offers (8192)")
    add("--vcores", type=int, default=8, help="vcores that each node offers (8)")
    add(
        "--protection",
        choices=["authentication", "integrity", "privacy"],
        default="authentication",
        help="hadoop.rpc.protection",
    )
    add("--expiry", type=int, default=20, help="seconds until a silent node or AM is dead (20)")
    add("--net", help="127.A.B: addresses of the loopback instead of namespaces")
    add("--set", type=_assignment, action="append", default=[], metavar="NAME=VALUE")
    add("--core", type=_assignment, action="append", default=[], metavar="NAME=VALUE")
    up.set_defaults(verb=_up)


if __name__ == "__main__":
    sys.exit(main())
