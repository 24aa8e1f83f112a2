"""The lab's life, for tests: up, what is to go wrong, what there is, down.

Used by `tests/azure`.
"""

from __future__ import annotations

import sys

from arm.lab.environ import environ_of
from ssh.lab.cloud import CloudLab


class ArmLab(CloudLab):
    """Azure's API, and a host for each virtual machine.

    `go_wrong` takes what `engine.Faults` has.
    """

    def __init__(self, image: str) -> None:
        """Start it; `image` is every machine's ~/.bash_profile.  Raises LabError."""
        super().__init__(image, [sys.executable, "-m", "arm.lab.server"])

    def environ(self) -> dict[str, str]:
        """What a program in the hub needs to find it, and credentials that it takes."""
        return environ_of(self.endpoint)
