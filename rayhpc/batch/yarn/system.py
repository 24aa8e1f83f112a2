"""YARN as a batch system: where its configuration is, and what it says inside a container.

Found by `registry`.  There is no step launcher: the application master starts a container for each
rank and tells it its number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rayhpc.allocation.allocation import Allocation
from rayhpc.batch.errors import OptionError
from rayhpc.batch.system import BatchSystem, SecretLink, Sign, Which
from rayhpc.batch.yarn import facts

if TYPE_CHECKING:
    from rayhpc.allocation.sizing import NodeSize
    from rayhpc.batch.jobs import Jobs
    from rayhpc.machine.facts import MachineFacts

_DIRECTORIES = ("YARN_CONF_DIR", "HADOOP_CONF_DIR")


class Yarn(BatchSystem):
    """The batch system `yarn`."""

    name = "yarn"
    title = "YARN"
    template = "yarn/application.yaml.j2"
    signals_all = ("yarn",)

    def look(self, environ: Mapping[str, str], which: Which) -> Sign:
        """It is never chosen: a configuration of YARN's is told, and that it is not served."""
        site = _site(environ)
        if site is None:
            return Sign(False)
        return Sign(False, f"{site} is there, but this version of rayhpc does not submit to YARN")

    def jobs(self) -> Jobs:
        """Not in this version."""
        raise OptionError(
            "this version of rayhpc does not submit to YARN: inside a YARN container start "
            "`rayhpc run` yourself, or use --scheduler local for a cluster on this machine"
        )

    def is_inside(self, environ: Mapping[str, str]) -> bool:
        """Whether this is a container."""
        return facts.present(environ)

    def facts(self, environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
        """What YARN and our application master say to this container."""
        return facts.read(environ, machine)

    def job_id(self, environ: Mapping[str, str]) -> str:
        """The application's id, as it is in the container's."""
        return facts.application(environ) or ""

    def link(self, environ: Mapping[str, str]) -> SecretLink | None:
        """YARN's credentials, in the containers of our own application master."""
        from rayhpc.batch.yarn.link import open_link

        return open_link(environ)

    def advice(
        self, environ: Mapping[str, str], allocation: Allocation, size: NodeSize
    ) -> list[str]:
        """Without LinuxContainerExecutor every YARN user runs as the node manager's uid."""
        owner = _user_name()
        user = environ.get("USER", owner)
        if user == owner:
            return []
        sentence = (
            f"this container of {user} runs as {owner}, as may those of all other users: files and "
            "local sockets here are not protected from them by their owner"
        )
        return [sentence]


def _site(environ: Mapping[str, str]) -> Path | None:
    for name in _DIRECTORIES:
        path = Path(environ.get(name) or "/nonexistent") / "yarn-site.xml"
        if path.is_file():
            return path
    return None


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


SYSTEM = Yarn()
