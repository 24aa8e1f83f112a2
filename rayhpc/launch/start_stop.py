"""Clusters started by hand: start a head, join a machine to it, end this user's sessions.

Used by `cli.start` and `cli.stop`.  Ends only processes whose pid and start time are recorded by a
session of this user, in this PID namespace; never searches for others.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import host_names, node_config, sessions
from rayhpc.launch.node_plan import NodePlan
from rayhpc.launch.options import NodeOptions, wrong
from rayhpc.launch.sessions import SessionRecord
from rayhpc.launch.spawn import NodeProcess
from rayhpc.launch.startup import Startup
from rayhpc.machine import processes
from rayhpc.machine.signals import Signals
from rayhpc.wire import join_tokens, keys
from rayhpc.wire.join_tokens import TokenError
from rayhpc.wire.keys import ClusterKey, KeyFileError

DEFAULT_PORT = 6379
START_S = 60.0
STOP_S = 10.0
_KILL_S = 5.0
# Nodes started by hand have no rank.
_NO_RANK = -1


@dataclass(frozen=True)
class StartOptions:
    """The user's options for a node started by hand.

    `address` is the head's, for a node that joins; `port` the preferred port of a head, 0: any
    free one. `key_file` is written by a head and read by a node that joins (`-`: standard input).
    """

    address: str | None = None
    port: int = DEFAULT_PORT
    node: NodeOptions = field(default_factory=NodeOptions)
    key_file: str | None = None
    join_token: str | None = None
    block: bool = False


@dataclass(frozen=True)
class Started:
    """A node that is ready: its record, where its key is, and its process."""

    record: SessionRecord
    key_file: str
    process: NodeProcess


def start_head(options: StartOptions, environ: Mapping[str, str], signals: Signals) -> Started:
    """Start a node with the head of a new cluster; a signal aborts.

    Raises:
        LaunchError: an invalid option, or the node fails to start.
    """
    process = NodeProcess(detached=not options.block)
    try:
        cluster = node_config.new_cluster()
        plan = node_config.make_plan(
            node_config.look_around(environ, rank=0, size=1),
            options.node,
            cluster.key,
            kind=sessions.BY_HAND,
            head=cluster.head,
            head_port=options.port,
            tied=options.block,
            rank=_NO_RANK,
        )
        record = _bring_up(process, plan, signals)
        path = _save_key(record.completed(cluster.key), options.key_file)
    except BaseException:
        _take_back(process)
        raise
    return Started(record, path, process)


def join(options: StartOptions, environ: Mapping[str, str], signals: Signals) -> Started:
    """Start a node that joins the cluster at `options.address`; a signal aborts.

    Raises:
        LaunchError: no key, no head there, or it rejects us; the text says what to do.
    """
    assert options.address is not None
    if options.join_token is not None:
        key = _traded(options.join_token, options.address, signals)
    else:
        key = _find_key(options.address, options.key_file)
    process = NodeProcess(detached=not options.block)
    try:
        plan = node_config.make_plan(
            node_config.look_around(environ, rank=0, size=1),
            options.node,
            key,
            kind=sessions.BY_HAND,
            tied=options.block,
            rank=_NO_RANK,
        )
        record = _bring_up(process, plan, signals)
    except BaseException:
        _take_back(process)
        raise
    return Started(record, options.key_file or "", process)


def block(started: Started, signals: Signals) -> int:
    """Wait until the node ends or we are told to; returns the exit code."""
    while (code := started.process.poll()) is None:
        for arrival in signals.wait(None):
            if arrival.number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                started.process.stop()
                return 0 if arrival.number == signal.SIGINT else 128 + arrival.number
    return code


def chosen_sessions(
    environ: Mapping[str, str], *, session: str | None = None, address: str | None = None
) -> list[SessionRecord]:
    """The sessions to end: the named one, all at an address, or all of this user on this node.

    Raises:
        SessionNotFoundError: the named one does not exist.
    """
    if session is not None:
        return [sessions.find(session if "/" in session else _directory(session, environ))]
    found = sessions.living(environ, ready=False)
    if address is None:
        return found
    named = sessions.find(address, environ)
    return [each for each in found if each.cluster_id == named.cluster_id]


def stop_sessions(records: Iterable[SessionRecord], grace_s: float = STOP_S) -> list[str]:
    """End sessions, the heads' last, gracefully or, after `grace_s` seconds, by force.

    Returns:
        A sentence for each session that could not be ended.
    """
    ordered = sorted(records, key=lambda record: record.is_head)
    problems = []
    for record in ordered:
        _signal(record, signal.SIGTERM)
    for record in ordered:
        if _wait_for_end(record, grace_s):
            continue
        _signal(record, signal.SIGKILL)
        if not _wait_for_end(record, _KILL_S):
            problems.append(f"process {record.pid} of {record.session_dir} does not end")
    return problems


def _bring_up(process: NodeProcess, plan: NodePlan, signals: Signals) -> SessionRecord:
    startup = Startup(signals, time.monotonic() + START_S)
    process.send(plan)
    process.wait_ready(START_S, startup.pause)
    return process.record()


def _take_back(process: NodeProcess) -> None:
    """End a node whose start has failed; a detached one has no pipe that we could close."""
    if process.poll() is None:
        process.terminate()
    process.stop()


def _save_key(key: ClusterKey, path: str | None) -> str:
    """Save the key where later commands find it, or only where the user wants it."""
    ip, port = key.head_endpoints[0]
    try:
        # Whatever listened there before is gone, though its key may have been left behind.
        while (old := keys.find(f"{ip}:{port}")) is not None:
            keys.remove(old.cluster_id)
        if path is None:
            return str(keys.save(key))
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(keys.encode(key))
    except KeyFileError as error:
        raise LaunchError(str(error), ExitCode.PERMISSION) from None
    except OSError as error:
        raise LaunchError(
            f"--key-file {path} cannot be written: {error.strerror}", ExitCode.PERMISSION
        ) from None
    return str(path)


def _find_key(address: str, path: str | None) -> ClusterKey:
    """The key of the cluster at an address, with that address as the only place of its head."""
    places = _places(address)
    try:
        key = _saved_key(places) if path is None else keys.load(path)
    except KeyFileError as error:
        raise LaunchError(str(error), ExitCode.PERMISSION) from None
    if key is None:
        raise LaunchError(
            f"the key of the cluster at {address} is not in this machine's home directory: copy "
            "the key file that `rayhpc start --head` named here and pass it with --key-file, or "
            f"pipe it: ssh HEAD cat KEYFILE | rayhpc start --address={address} --key-file -",
            ExitCode.PERMISSION,
        )
    # Only there: the key of another cluster would find that cluster elsewhere.
    return msgspec.structs.replace(key, head_endpoints=places)


def _traded(path: str, address: str, signals: Signals) -> ClusterKey:
    """The key that a one-time token is good for; a signal aborts, as the head may be gone."""
    places = _places(address)
    startup = Startup(signals, time.monotonic() + START_S)
    try:
        key = join_tokens.redeem(join_tokens.load(path), START_S, startup.pause)
    except TokenError as error:
        raise LaunchError(str(error), ExitCode.PERMISSION) from None
    return msgspec.structs.replace(key, head_endpoints=places)


def _saved_key(places: list[tuple[str, int]]) -> ClusterKey | None:
    found = (keys.find(host_names.endpoint(ip, port)) for ip, port in places)
    return next(filter(None, found), None)


def _places(address: str) -> list[tuple[str, int]]:
    """Where a head may be: every address of its host name; for one on this machine, its record.

    Raises:
        LaunchError: not an address, or an unknown host.
        SessionNotFoundError: `auto` with no cluster, or several, on this machine.
    """
    if address == "auto":
        return sessions.find(address).head_places
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise wrong(
            f"--address {address!r} is not the head's address: give it as ip:port, or auto for "
            "your cluster on this machine"
        )
    try:
        named = host_names.addresses_of(host)
    except OSError as error:
        raise wrong(f"--address: unknown host {host} ({error}); give its IP address") from None
    try:
        here = sessions.find(address).head_places
    except sessions.SessionNotFoundError:
        here = []
    return list(dict.fromkeys([*here, *((ip, int(port)) for ip in named)]))


def _directory(name: str, environ: Mapping[str, str]) -> str:
    """A session's directory, given the last part of its name."""
    for record in sessions.living(environ, ready=False):
        if Path(record.session_dir).name == name:
            return record.session_dir
    raise sessions.SessionNotFoundError(
        f"no session of yours on this machine is called {name!r}; `rayhpc status` lists them"
    )


def _signal(record: SessionRecord, number: int) -> bool:
    """Signal a session's node process, or the launcher that drains it; False if it has ended."""
    if not sessions.is_running(record):
        return False
    if record.launcher is not None and number == signal.SIGTERM:
        return processes.send_signal(*record.launcher, number)
    return processes.send_signal(record.pid, record.started, number)


def _wait_for_end(record: SessionRecord, timeout_s: float) -> bool:
    """Whether the node process ends in time."""
    deadline = time.monotonic() + timeout_s
    try:
        descriptor = processes.open_pidfd(record.pid)
    except ProcessLookupError:
        return True
    try:
        while sessions.is_running(record):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if descriptor is None:
                time.sleep(min(left, 0.02))
            else:
                processes.readable(descriptor, left)
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True
