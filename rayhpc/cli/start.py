"""`rayhpc start`: a cluster started by hand, machine by machine."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from rayhpc.cli.node_options import node_options
from rayhpc.launch.options import NodeOptions, wrong

if TYPE_CHECKING:
    from rayhpc.launch.start_stop import Started, StartOptions


@click.command()
@click.option("--head", is_flag=True, help="Start a new cluster with its head here.")
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Join the cluster with this head (auto: yours on this machine).",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The head's port (6379, or a free one if that is taken; 0: always a free one).",
)
@node_options
@click.option(
    "--key-file",
    metavar="FILE",
    help="The cluster's key: written by a head, read when joining (-: standard input).",
)
@click.option(
    "--join-token",
    metavar="FILE",
    help="When joining: a one-time token, which is traded for the cluster's key.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="With --head: start the head of your cluster on this machine again, if it has died.",
)
@click.option("--block", is_flag=True, help="Stay in the foreground until the node ends.")
def start(
    head: bool,
    address: str | None,
    port: int | None,
    node: NodeOptions,
    key_file: str | None,
    join_token: str | None,
    resume: bool,
    block: bool,
) -> int:
    """Start a head on this machine, or join this machine to one.

    Without --block one process stays in the background and supervises everything else; `rayhpc
    stop` ends it. It also starts the head again when that dies, with all it knew; if it has given
    that up, --head --resume has it try once more.
    """
    if head == (address is not None):
        raise wrong("give either --head, for a new cluster, or --address, to join one")
    if address is not None and port is not None:
        raise wrong("--port is for a head; when joining, the port is part of --address")
    if head and key_file == "-":
        raise wrong("--key-file - is for joining; a head writes its key: name a file or omit it")
    if join_token is not None and (head or key_file is not None):
        raise wrong("--join-token is for joining, and takes the place of --key-file")
    if resume:
        return _resume(head)
    from rayhpc.launch import start_stop
    from rayhpc.machine.signals import Signals

    options = start_stop.StartOptions(
        address=address,
        port=start_stop.DEFAULT_PORT if port is None else port,
        node=node,
        key_file=key_file,
        join_token=join_token,
        block=block,
    )
    with Signals() as signals:
        if head:
            started = start_stop.start_head(options, os.environ, signals)
            _explain_head(started, options)
        else:
            started = start_stop.join(options, os.environ, signals)
            _explain_join(started, block)
        sys.stdout.flush()
        if block:
            return start_stop.block(started, signals)
        started.process.detach()
    return 0


def _resume(head: bool) -> int:
    if not head:
        raise wrong("--resume is for a head: rayhpc start --head --resume")
    from rayhpc.launch.resuming import resume_head

    click.echo(f"The head of the cluster at {resume_head(os.environ)} is back.")
    return 0


def _explain_join(started: Started, block: bool) -> None:
    click.echo(f"This machine ({started.record.node_ip}) has joined {started.record.address}.")
    click.echo(f"To leave it: {_stop_line(started, block)}")


def _explain_head(started: Started, options: StartOptions) -> None:
    record = started.record
    port = record.address.rpartition(":")[2]
    if options.port not in (0, int(port)):
        click.echo(f"Port {options.port} is taken on this machine; the head listens on {port}.")
    key = "" if options.key_file is None else f" --key-file={started.key_file}"
    click.echo(
        f"The cluster is ready at {record.address}.\n\n"
        "To add another machine, run there:\n"
        f"    rayhpc start --address={record.address}{key}\n"
        f"It needs the key {started.key_file}. If the two machines do not share a home\n"
        "directory, send it over:\n"
        f"    ssh {record.node_ip} cat {started.key_file} | "
        f"rayhpc start --address={record.address} --key-file -\n\n"
        "Programs started on its machines join it with rayhpc.init(). With several clusters,\n"
        "name this one, in the program or in its environment:\n"
        f'    rayhpc.init(address="{record.address}")\n'
        f"    export RAYHPC_ADDRESS={record.address}\n\n"
        f"To stop it: {_stop_line(started, options.block)}"
    )


def _stop_line(started: Started, block: bool) -> str:
    return "Ctrl-C" if block else f"rayhpc stop --session {started.record.session_dir}"
