"""The role that an instance of the lab may have: the name of its profile, and how it is used there.

Used by `server` and by tests.  EC2 hands out a role's credentials by its metadata address; here an
instance with the profile finds some in its environment instead.
"""

from __future__ import annotations

#: `IamInstanceProfile: {Name: …}` of a node type.
PROFILE = "grows-its-cluster"
# The hub's address on the bridge.
_HUB = "10.88.0.254"


def environ(port: int) -> dict[str, str]:
    """What programs on such an instance find EC2 and their credentials by.

    Args:
        port: the API's, in the hub.
    """
    return {
        "AWS_ENDPOINT_URL": f"http://{_HUB}:{port}",
        "AWS_ACCESS_KEY_ID": "role",
        "AWS_SECRET_ACCESS_KEY": "role",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
