"""The user's credentials by azure-identity, which is imported when a cluster is opened.

Used by `provider`.  They are azure-identity's to find (`az login`, the environment, a machine's
managed identity): nothing here stores them or passes them on.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from rayhpc.batch.errors import OptionError
from rayhpc.providers.azure.api import ENDPOINT
from rayhpc.providers.rest import ApiError

_HOW = "install it with `pip install 'rayhpc[azure]'`, or `pip install azure-identity`"
# A token is not used up to its very end.
_SPARE_S = 300.0


class AzureCredentials:
    """Implements `api.Credentials`.

    Args:
        endpoint: whom the tokens are for.

    Raises:
        OptionError: azure-identity is not installed.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        try:
            import azure.identity  # noqa: F401
        except ImportError as error:
            text = f"the provider azure needs azure-identity ({error}): {_HOW}"
            raise OptionError(text) from None
        self._scope = f"{(endpoint or ENDPOINT).rstrip('/')}/.default"
        self._credential: Any = None
        self._token = ""
        self._until = 0.0
        self._renewing = threading.Lock()

    def subscription(self) -> str | None:
        """The default one of `az`."""
        folder = Path(os.environ.get("AZURE_CONFIG_DIR") or "~/.azure").expanduser()
        try:
            # `az` writes a byte order mark.
            told = json.loads((folder / "azureProfile.json").read_text("utf-8-sig"))
            found = [each for each in told["subscriptions"] if each.get("isDefault")]
            return str(found[0]["id"]) if found else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def headers(self) -> dict[str, str]:
        """A fresh token is asked for when the last one ends: `az` takes a second for each."""
        with self._renewing:
            if time.time() > self._until:
                self._renew()
        return {"Authorization": f"Bearer {self._token}"}

    def _renew(self) -> None:
        from azure.core import exceptions as problems
        from azure.identity import DefaultAzureCredential

        # What they have to say is said by us, where it matters.
        logging.getLogger("azure").addHandler(logging.NullHandler())
        logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
        try:
            if self._credential is None:
                self._credential = DefaultAzureCredential()
            found = self._credential.get_token(self._scope)
        except problems.ServiceRequestError as error:
            raise ApiError("", str(error)) from None
        except (problems.AzureError, ValueError) as error:
            raise ApiError("NoCredentials", str(error)) from None
        self._token, self._until = found.token, found.expires_on - _SPARE_S
