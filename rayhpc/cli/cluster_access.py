"""Shared by the commands for launched clusters: which one is meant, its machines, its messages.

A cluster is named by its YAML file, or by its name if `rayhpc up` has brought it up from here.
"""

from __future__ import annotations

import difflib
import os
import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import msgspec

from rayhpc.batch.errors import OptionError
from rayhpc.cli.cluster_names import looks_like_a_file
from rayhpc.cli.saying import say
from rayhpc.clusters import record
from rayhpc.clusters.errors import NotServedError, UnknownClusterError
from rayhpc.clusters.hosts import Host, hosts_of
from rayhpc.clusters.ignored import FIXED, RENTED
from rayhpc.clusters.launcher import Launcher
from rayhpc.clusters.read import ClusterFile, read, read_file
from rayhpc.clusters.record import ClusterRecord, KnownHost, RecordFolder
from rayhpc.clusters.remote.login import Login
from rayhpc.clusters.rental import Rental
from rayhpc.clusters.renting import own_key_path
from rayhpc.clusters.schema import Auth
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.providers import registry
from rayhpc.providers.machines import MachineKind

cluster_argument = click.argument("cluster", metavar="CLUSTER.YAML|NAME")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@dataclass(frozen=True)
class Cluster:
    """A cluster that a command is about: its file, and what is remembered of it."""

    file: ClusterFile
    folder: RecordFolder
    record: ClusterRecord | None

    @property
    def name(self) -> str:
        """Its name."""
        return self.file.config.cluster_name

    @property
    def rental_kind(self) -> MachineKind | None:
        """The kind of place that makes its machines; None: it is another kind of provider."""
        if self.file.config.provider_type not in RENTED:
            return None
        found = registry.provider(self.file.config.provider_type)
        return found if isinstance(found, MachineKind) else None

    @property
    def auth(self) -> Auth:
        """How to log in to its machines; those that are made for it have a key of its own."""
        auth, kind = self.file.config.auth, self.rental_kind
        if kind is None:
            return auth
        key = auth.ssh_private_key or str(own_key_path(self.folder.path))
        user = auth.ssh_user or kind.user
        return msgspec.structs.replace(auth, ssh_user=user, ssh_private_key=key)

    def hosts(self) -> list[Host]:
        """Its machines by its file, or by its place where that makes them; the head first.

        Raises:
            NotServedError: of a provider that is not served.
            ClusterFileError: the list is wrong.
            LaunchError: it has no head.
        """
        refuse_unserved(self.file)
        if self.rental_kind is None:
            return hosts_of(self.file)
        return self.rental().hosts_with_head()

    def rental(self) -> Rental:
        """Its machines, where its place makes them.

        Raises:
            OptionError: its file has an option that the provider does not know, or a package is
                missing.
        """
        kind = self.rental_kind
        assert kind is not None
        return Rental(self.file, kind, self.auth, self.folder, tell)

    def hosts_gone(self, hosts: Sequence[Host]) -> list[Host]:
        """Machines that it had when it was brought up and that its file has no more."""
        if self.rental_kind is not None:
            return []  # its place knows
        now = {each.name for each in hosts}
        rows = self.record.hosts if self.record is not None else []
        return [_host(each) for each in rows if each.name not in now]

    def launcher(
        self, hosts: Sequence[Host], *, quiet: bool = False, patience_s: float = 0.0
    ) -> Launcher:
        """Its machines, to be reached, within `patience_s` if they have only just been started."""
        self.folder.make()
        config = msgspec.structs.replace(self.file.config, auth=self.auth)
        file = replace(self.file, config=config)
        return Launcher(file, hosts, self.folder, _silent if quiet else tell, patience_s)

    def head_login(self) -> Login:
        """How to log in to the head's machine."""
        head = self.hosts()[0]
        auth = self.auth
        self.folder.make()
        return Login(
            head.login,
            head.user,
            head.port,
            auth.ssh_private_key,
            auth.ssh_proxy_command,
            self.folder.known_hosts,
            head.identity,
        )


def find(word: str) -> Cluster:
    """The cluster that a word of the user names.

    Raises:
        ClusterFileError, OSError: its file is wrong or cannot be read.
        UnknownClusterError: there is none of that name.
    """
    if looks_like_a_file(word):
        file = read_file(word)
        folder = RecordFolder(os.environ, file.config.cluster_name)
        return Cluster(file, folder, folder.read())
    folder = RecordFolder(os.environ, word)
    found = folder.read() if "/" not in word else None
    if found is None:
        names = record.names(os.environ)
        near = difflib.get_close_matches(word, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ": name its YAML file"
        raise UnknownClusterError(f"no cluster {word!r} was brought up from here{hint}")
    return Cluster(read(found.text, found.file), folder, found)


def refuse_unserved(file: ClusterFile) -> None:
    """Raises NotServedError unless the cluster's provider is served."""
    kind = file.config.provider_type
    if kind not in (*FIXED, *RENTED):
        line = file.document.line(("provider", "type"))
        names = [name for name in registry.names() if _is_served(name)]
        near = difflib.get_close_matches(kind, (*FIXED, *names), 1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise NotServedError(
            f"{file.source}, line {line}: rayhpc brings up no machines of provider {kind!r}{meant} "
            f"yet; it serves {' and '.join(FIXED)}, a list of machines that you can log in to, and "
            f"{', '.join(names)}. On batch systems, PBS among them, `rayhpc submit` runs one "
            "program"
        )


def _is_served(name: str) -> bool:
    """Whether `up` makes clusters of this provider."""
    if name in (*RENTED, "kubernetes"):
        return True
    try:
        return registry.provider(name).batch_system is not None
    except OptionError:  # it cannot be used
        return False


def remembered(cluster: Cluster, hosts: Sequence[Host]) -> ClusterRecord:
    """The record of a cluster that is about to be changed."""
    before = cluster.record
    return ClusterRecord(
        name=cluster.name,
        file=os.path.abspath(cluster.file.source),
        text=text_of(cluster),
        hosts=[record.known(each) for each in hosts],
        conditions=dict(before.conditions) if before else {},
        address=before.address if before else "",
    )


def text_of(cluster: Cluster) -> str:
    """The file's text, as it is or was."""
    try:
        return Path(cluster.file.source).read_text()
    except OSError:
        assert cluster.record is not None
        return cluster.record.text


_writing = threading.Lock()


def tell(machine: str, text: str) -> None:
    """One line about one machine, from any thread."""
    with _writing:
        say(f"{machine}: {text}")


def complain(error: LaunchError, tail: Sequence[str]) -> None:
    """A machine's failure, with the last lines it printed."""
    say(str(error))
    for line in tail:
        click.echo(f"    | {line}", err=True)


def worst_code(errors: Sequence[LaunchError]) -> int:
    """The exit code for several failures: the first one's, if all have the same."""
    codes = {int(each.code) for each in errors}
    return codes.pop() if len(codes) == 1 else int(ExitCode.TOO_FEW_NODES)


def confirm(question: str, yes: bool) -> None:
    """Ask, unless told not to.  Raises click.Abort for a no, UsageError where nobody can answer."""
    if yes:
        return
    if not os.isatty(0):
        raise click.UsageError("there is no terminal to ask at: add -y to go ahead")
    click.confirm(question, abort=True, err=True)


def identity(cluster: Cluster, host: Host) -> str:
    """`export` of what `rayhpc _machine` wants to know, as shell text."""
    told = {"cluster": cluster.name, "machine": host.name}
    return f"export RAYHPC_UP={shlex.quote(msgspec.json.encode(told).decode())}"


def _host(each: KnownHost) -> Host:
    return Host(each.name, each.login, each.user, each.port, each.node_type, each.is_head)


def _silent(machine: str, text: str) -> None:
    pass
