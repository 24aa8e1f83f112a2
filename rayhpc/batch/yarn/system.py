"""YARN as a batch system: where its configuration is, and what a container is told.

Found by `registry`.  There is no step launcher: the ApplicationMaster starts one container per rank
and tells it its rank.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rayhpc.allocation.allocation import Allocation
from rayhpc.batch.system import BatchSystem, SecretLink, Sign, Which
from rayhpc.batch.yarn import facts

if TYPE_CHECKING:
    from rayhpc.allocation.sizing import NodeSize
    from rayhpc.batch.yarn.jobs import YarnJobs
    from rayhpc.machine.facts import MachineFacts

_KNOCK_S = 1.0


class Yarn(BatchSystem):
    """The batch system `yarn`."""

    name = "yarn"
    title = "YARN"
    template = "yarn/application.yaml.j2"
    takes_words = "YARN"
    signals_all = ("yarn",)

    def look(self, environ: Mapping[str, str], which: Which) -> Sign:
        """Whether there is a configuration of a cluster whose ResourceManager answers.

        A configuration that came with Hadoop, or was left on a laptop, must not make a plain submit
        fail: each address is tried, for a second at most.
        """
        from rayhpc.hadoop.configuration import FOLDERS, Configuration, find_folder
        from rayhpc.hadoop.errors import ConfigurationError
        from rayhpc.hadoop.resource_managers import CLIENTS, addresses

        folder = find_folder(environ)
        if folder is None:
            named = next((name for name in FOLDERS if environ.get(name)), None)
            why = f"{named}={environ[named]} has no yarn-site.xml" if named else ""
            return Sign(False, why)
        site = folder / "yarn-site.xml"
        try:
            masters = addresses(Configuration.load(folder), CLIENTS)
        except ConfigurationError as error:
            return Sign(False, f"{site} is there, but is no cluster's: {error}")
        if any(map(_answers, masters)):
            return Sign(True, f"{site} is there")
        at = ", ".join(f"{host}:{port}" for host, port in masters)
        return Sign(
            False,
            f"{site} is there, but no ResourceManager answers at {at}: --scheduler yarn waits for "
            "one",
        )

    def jobs(self) -> YarnJobs:
        """The submit side."""
        from rayhpc.batch.yarn.jobs import YarnJobs

        return YarnJobs(self)

    def head_host(self, nodes: str) -> str | None:
        """Unknown here: `jobs.on_head` asks."""
        return None

    def is_inside(self, environ: Mapping[str, str]) -> bool:
        """Whether this process runs in a container."""
        return facts.present(environ)

    def facts(self, environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
        """What YARN and our ApplicationMaster tell this container."""
        return facts.read(environ, machine)

    def job_id(self, environ: Mapping[str, str]) -> str:
        """The application's id, from the container's id."""
        return facts.application(environ) or ""

    def link(self, environ: Mapping[str, str]) -> SecretLink | None:
        """The link to our ApplicationMaster, from the container's credentials."""
        from rayhpc.batch.yarn.link import open_link

        return open_link(environ)

    def labels(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Those that our ApplicationMaster has given this rank."""
        from rayhpc.batch.yarn.application import LABELS

        pairs = (each.partition("=") for each in environ.get(LABELS, "").split(",") if each)
        return {name: value for name, _, value in pairs}

    def fetched_files(self, environ: Mapping[str, str]) -> Path | None:
        """The container's folder of logs: YARN shows its files, and collects them."""
        folders = environ.get("LOG_DIRS", "")
        return Path(folders.partition(",")[0]) if folders else None

    def shares_uid(self, environ: Mapping[str, str]) -> bool:
        """Without LinuxContainerExecutor every YARN user runs as the NodeManager's uid."""
        return environ.get("USER", _user_name()) != _user_name()

    def advice(
        self, environ: Mapping[str, str], allocation: Allocation, size: NodeSize
    ) -> list[str]:
        """Where containers share a uid: what is protected from other users, and what is not."""
        if not self.shares_uid(environ):
            return []
        sentence = (
            f"this container of {environ['USER']} runs as {_user_name()}, as may those of all "
            "other users (YARN without LinuxContainerExecutor). rayhpc encrypts its local sockets "
            "and closes its memory and object store to them. Not protected from them: files (the "
            "program, what it writes, logs, YARN's tokens in the container's folder and with them "
            "the cluster's key), signals, and the memory of programs that yours starts"
        )
        return [sentence]


def _answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=_KNOCK_S):
            return True
    except OSError:
        return False


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


SYSTEM = Yarn()
