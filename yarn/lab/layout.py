"""What a lab is made of: the options it was started with, its daemons, their addresses.

Used by everything else here.  Only data.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# The last number of a daemon's address; nm1 has 11.
_LAST = {"client": 3, "kdc": 4, "nn": 5, "dn": 6, "zk": 7, "rm1": 8, "rm2": 9, "rm": 10}


@dataclass(frozen=True)
class Options:
    """What was asked for.

    `net` is the first three numbers of all addresses, `memory` in MiB per node, `expiry_s` after
    how many seconds a silent node or ApplicationMaster counts as dead; `yarn_site` and `core_site`
    are further properties.
    """

    hadoop: str
    net: str
    nodes: int = 2
    gpus: int = 0
    hdfs: bool = False
    ha: bool = False
    kerberos: bool = False
    memory: int = 8192
    vcores: int = 8
    protection: str = "authentication"
    expiry_s: int = 20
    yarn_site: dict[str, str] = field(default_factory=dict)
    core_site: dict[str, str] = field(default_factory=dict)
    capacity: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For the lab's state file."""
        return asdict(self)


@dataclass(frozen=True)
class Layout:
    """The daemons of a lab, and where each is."""

    options: Options
    run: Path

    @property
    def resource_managers(self) -> list[str]:
        """One, or two with high availability."""
        return ["rm1", "rm2"] if self.options.ha else ["rm"]

    @property
    def node_managers(self) -> list[str]:
        """nm1, nm2, …"""
        return [f"nm{index}" for index in range(1, self.options.nodes + 1)]

    @property
    def daemons(self) -> list[str]:
        """All, in the order in which they are started."""
        return [
            *(["kdc"] if self.options.kerberos else []),
            *(["zk"] if self.options.ha else []),
            *(["nn", "dn"] if self.options.hdfs else []),
            *self.resource_managers,
            *self.node_managers,
        ]

    def address(self, name: str) -> str:
        """The address of a daemon; `client` is everybody else's."""
        return f"{self.options.net}.{_LAST.get(name) or 10 + int(name[2:])}"

    def configuration(self, name: str) -> Path:
        """The folder of a daemon's configuration; `client` is everybody else's."""
        return self.run / "conf" / name

    def log(self, name: str) -> Path:
        """What a daemon prints."""
        return self.run / "logs" / f"{name}.log"

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The end of it."""
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])
