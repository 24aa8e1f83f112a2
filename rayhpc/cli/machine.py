"""`rayhpc _machine`: what `rayhpc up` calls on each machine of a cluster.  Not for users.

Which cluster and machine is meant, and what its node is to have, comes in RAYHPC_UP; the cluster's
key comes on standard input, never otherwise.  `ray stop` here ends the cluster's own node alone,
where a user's own `ray stop` would end all of the user's nodes on that machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import msgspec

from rayhpc.clusters.machine import NodeNote
from rayhpc.clusters.record import clusters_folder
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.providers.node_words import node_words

if TYPE_CHECKING:
    from rayhpc.launch.sessions import SessionRecord

_VARIABLE = "RAYHPC_UP"
_STOP_S = 30.0


class Told(msgspec.Struct, frozen=True):
    """What RAYHPC_UP says.

    `head_ip` is what workers' commands call the head's machine, `address` where it really listens.
    """

    cluster: str
    machine: str
    head_ip: str = ""
    address: str = ""
    resources: dict[str, float] = {}
    labels: dict[str, str] = {}

    @property
    def _base(self) -> Path:
        return clusters_folder(os.environ) / self.cluster / "machines" / self.machine

    def file(self, kind: str) -> Path:
        """One of the machine's notes."""
        return self._base.with_name(f"{self.machine}.{kind}")


@click.group("_machine", hidden=True)
def machine() -> None:
    """What `rayhpc up` calls on a cluster's machines."""


@machine.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def ray(words: tuple[str, ...]) -> None:
    """`ray start`, `ray stop` and others, as a cluster's file has them."""
    told = _told()
    if words[:1] == ("stop",):
        _stop(told)
        return
    from rayhpc.compat import command
    from rayhpc.launch import sessions

    before = {each.session_dir for each in sessions.living(os.environ)}
    try:
        command.main(completed(told, list(words)))
    except SystemExit as end:
        if words[:1] != ("start",) or end.code not in (0, None):
            raise
    started = [x for x in sessions.living(os.environ) if x.session_dir not in before]
    if started:
        _note(told, started[0])


@machine.command()
def stop() -> None:
    """End the cluster's node on this machine."""
    _stop(_told())


@machine.command()
def grow() -> None:
    """Answer a planner that is elsewhere, on standard input and output, until that ends."""
    from rayhpc.cli import keeping
    from rayhpc.launch import growth_server

    told = _told()
    with keeping.only_planner(told.cluster):
        growth_server.serve(_read_note(told).session_dir, sys.stdin.buffer, sys.stdout.buffer)


@machine.command()
def adopt() -> None:
    """Have this head add and end its workers itself, by the plan on standard input."""
    from rayhpc.cli import keeping

    told = _told()
    keeping.adopt(told.cluster, _read_note(told).session_dir, sys.stdin.buffer.readline().strip())


@machine.command()
def keep() -> None:
    """Be the process that does so."""
    from rayhpc.cli import keeping

    told = _told()
    keeping.keep(told.cluster, _read_note(told).session_dir)


@machine.command()
def leave() -> None:
    """Have this head add and end no workers any more."""
    from rayhpc.cli import keeping

    if keeping.leave(_told().cluster):
        click.echo("left")


@machine.command()
def key() -> None:
    """Write the key of the cluster whose head runs here."""
    from rayhpc.launch import start_stop
    from rayhpc.wire import keys

    told = _told()
    note = _read_note(told)
    records = start_stop.chosen_sessions(os.environ, session=note.session_dir)
    found = keys.find(note.address)
    if not records or found is None:
        raise LaunchError(f"the key of {note.address} is not here", ExitCode.PERMISSION)
    sys.stdout.buffer.write(keys.encode(records[0].completed(found)))
    sys.stdout.flush()


@machine.command("do", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("text")
def do(text: str) -> None:
    """Replace this process by a shell that runs TEXT, connected to the cluster."""
    from rayhpc.compat import shim

    environ = shim.environment(os.environ, None)
    environ["RAYHPC_ADDRESS"] = _read_note(_told()).address
    environ.pop(_VARIABLE)
    os.execvpe("bash", ["bash", "-c", text], environ)


@machine.command()
@click.argument("session_dir")
def alive(session_dir: str) -> int:
    """Exit with 0 if a session's node runs on this machine, else with 1."""
    from rayhpc.launch import sessions

    record = sessions.read_record(Path(session_dir))
    return 0 if record is not None and sessions.is_running(record) else 1


@machine.command("at", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("address")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
def at(address: str, words: tuple[str, ...]) -> None:
    """Replace this process by a program that is connected to the cluster at ADDRESS."""
    from rayhpc.cli.become import become
    from rayhpc.compat import shim

    os.environ.update(shim.environment(os.environ, None), RAYHPC_ADDRESS=address)
    become(list(words))


@machine.command()
@click.argument("lines", type=int)
def logs(lines: int) -> None:
    """Become a `tail` of the node's logs, which ends with the node."""
    _follow(lines, _read_note(_told()).session_dir, ())


@machine.command()
@click.argument("lines", type=int)
@click.argument("session_dir")
@click.argument("files", nargs=-1)
def follow(lines: int, session_dir: str, files: tuple[str, ...]) -> None:
    """Become a `tail` of FILES and of the logs of a session, which ends with the session."""
    _follow(lines, session_dir, files)


def _follow(lines: int, session_dir: str, files: Sequence[str]) -> NoReturn:
    from rayhpc.launch import start_stop

    (record,) = start_stop.chosen_sessions(os.environ, session=session_dir)
    logs = sorted(str(each) for each in Path(session_dir, "logs").glob("*.log"))
    os.execvp("tail", ["tail", f"-n{lines}", f"--pid={record.pid}", "-F", *files, *logs])


def completed(told: Told, words: list[str]) -> list[str]:
    """The words of `ray start` with what the cluster's file says elsewhere.

    The head may listen on another port than the file has; a worker gets the key on standard input.
    """
    if words[:1] != ["start"]:
        return words
    more = list(words)
    if "--head" not in words:
        more = [_with_address(told, word) for word in words]
        more = [
            _with_address(told, x) if more[i - 1] == "--address" else x for i, x in enumerate(more)
        ]
        if not _has(words, "--key-file"):
            more += ["--key-file", "-"]
    for option, value in node_words(told.resources, told.labels).items():
        if not _has(words, option):
            more.append(f"{option}={value}")
    return more


def _with_address(told: Told, word: str) -> str:
    """An address that names the head's machine, with the port on which the head really listens."""
    option, equals, value = word.rpartition("=")
    if option not in ("", "--address") or not told.address:
        return word
    host, colon, port = value.rpartition(":")
    if colon and port.isdigit() and host == told.head_ip:
        return f"{option}{equals}{host}:{told.address.rpartition(':')[2]}"
    return word


def _has(words: list[str], option: str) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in words)


def _told() -> Told:
    try:
        return msgspec.json.decode(os.environ.get(_VARIABLE, ""), type=Told)
    except msgspec.DecodeError:
        raise click.UsageError(f"{_VARIABLE} is missing: this is for `rayhpc up`") from None


def _note(told: Told, record: SessionRecord) -> None:
    note = NodeNote(record.cluster_id, record.address, record.node_ip, record.session_dir)
    told.file("json").parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    told.file("json").write_bytes(msgspec.json.encode(note))
    told.file("session").write_text(record.session_dir)


def _read_note(told: Told) -> NodeNote:
    try:
        return msgspec.json.decode(told.file("json").read_bytes(), type=NodeNote)
    except (OSError, msgspec.DecodeError):
        raise LaunchError(
            f"cluster {told.cluster} has no node on {told.machine}; `rayhpc up` starts it",
            ExitCode.HEAD_LOST,
        ) from None


def _stop(told: Told) -> None:
    from rayhpc.launch import sessions, start_stop

    try:
        directory = told.file("session").read_text().strip()
        records = start_stop.chosen_sessions(os.environ, session=directory)
    except (OSError, sessions.SessionNotFoundError):
        return  # there is none any more
    problems = start_stop.stop_sessions(records, _STOP_S)
    if problems:
        raise LaunchError("; ".join(problems))
    told.file("session").unlink(missing_ok=True)
