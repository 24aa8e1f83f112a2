"""The lab's life, for tests: up, what is to go wrong, what there is, down.

Used by `tests/gcp`.
"""

from __future__ import annotations

import sys

from gcp.lab.http_api import PROJECT
from gcp.lab.key_file import write_key_file
from ssh.lab.cloud import CloudLab


class GceLab(CloudLab):
    """Compute Engine's API, and a host for each instance.

    `go_wrong` takes what `engine.Faults` has.
    """

    def __init__(self, image: str) -> None:
        """Start it; `image` is every instance's ~/.bash_profile.  Raises LabError."""
        super().__init__(image, [sys.executable, "-m", "gcp.lab.server"])
        self._key = self.hosts.folder / "service-account.json"
        write_key_file(self._key, f"{self.endpoint}/token")

    def environ(self) -> dict[str, str]:
        """What a program in the hub needs to find it, and credentials that it takes."""
        return {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{self.endpoint}/compute/v1/",
            "GOOGLE_APPLICATION_CREDENTIALS": str(self._key),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "NO_GCE_CHECK": "true",
        }
