"""The switches of a fake cluster, in a file that the controller and the programs read anew."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Settings:
    """What kind of SLURM this is.

    Times in seconds.  `error` is what every request is answered with; `forgets_after` is MinJobAge.
    `accounts` are those that the user may charge, the first by default; none: nobody looks.
    `private` ones are not told (PrivateData).
    """

    version: str = "22.05.8"
    nodes: int = 4
    cpus: int = 8
    gpus: int = 4
    queue_delay: float = 0.0
    answer_delay: float = 0.0
    error: str = ""
    accounting: bool = False
    accounts: list[str] = field(default_factory=list)
    private: bool = False
    kill_wait: float = 3.0
    forgets_after: float = 300.0
    reason: str = "Resources"

    @classmethod
    def load(cls, folder: Path) -> Settings:
        """As they are now."""
        return cls(**json.loads((folder / "settings.json").read_text()))

    def save(self, folder: Path) -> None:
        """In force from the next request on."""
        part = folder / ".settings.part"
        part.write_text(json.dumps(asdict(self)))
        part.rename(folder / "settings.json")

    @property
    def number(self) -> tuple[int, ...]:
        """The version, comparable."""
        return tuple(int(part) for part in self.version.split("."))

    def names(self) -> list[str]:
        """The nodes' names."""
        return [f"node{index + 1}" for index in range(self.nodes)]
