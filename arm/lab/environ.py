"""What a program needs to find the fake, and for azure-identity to get its token.

Used by `lab` and by tests.
"""

from __future__ import annotations

from arm.lab.http_api import IDENTITY_HEADER, SUBSCRIPTION


def environ_of(root: str) -> dict[str, str]:
    """Variables; `root` is the fake's address."""
    return {
        "AZURE_RESOURCE_MANAGER_ENDPOINT": root,
        "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        # As a web application of Azure's own finds its identity.
        "IDENTITY_ENDPOINT": f"{root}/token",
        "IDENTITY_HEADER": IDENTITY_HEADER,
    }
