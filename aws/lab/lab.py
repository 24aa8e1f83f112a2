"""The lab's life, for tests: up, what is to go wrong, what there is, down.

Used by `tests/aws`.
"""

from __future__ import annotations

from aws.lab import environment
from ssh.lab import packages
from ssh.lab.cloud import CloudLab
from tests.cached_environment import NotThereError


def why_not() -> str:
    """Why there can be no lab here; empty if there can."""
    try:
        environment.interpreter()
    except NotThereError as error:
        return str(error)
    return packages.why_not()


class Ec2Lab(CloudLab):
    """EC2's API, and a host for each instance.

    `go_wrong` takes `full`, zones and types without room; `lose`, so many replies of RunInstances
    that has been done; `throttle`, so many calls; `deny`, calls by name; `hide_s`, how long what
    was made cannot be seen.
    """

    def __init__(self, image: str) -> None:
        """Start it; `image` is every instance's ~/.bash_profile.  Raises LabError."""
        super().__init__(image, [str(environment.interpreter()), "-m", "aws.lab.server"])

    def environ(self) -> dict[str, str]:
        """What a program in the hub needs to find it, and credentials that it takes."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "lab",
            "AWS_SECRET_ACCESS_KEY": "lab",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
