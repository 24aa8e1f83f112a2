"""The user's credentials by google-auth, which is imported when the first call is made.

Used by `provider`.  They are google-auth's to find (`gcloud auth application-default login`, the
environment, a machine's service account): nothing here stores them or passes them on.
"""

from __future__ import annotations

import logging
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from rayhpc.batch.errors import OptionError
from rayhpc.providers.rest import ApiError

_SCOPE = "https://www.googleapis.com/auth/compute"
_LIMIT_S = 30.0
_HOW = "install it with `pip install 'rayhpc[gcp]'`, or `pip install google-auth`"


class GoogleCredentials:
    """Implements `api.Credentials`.

    Raises:
        OptionError: google-auth is not installed.
    """

    def __init__(self) -> None:
        try:
            import google.auth  # noqa: F401
        except ImportError as error:
            raise OptionError(f"the provider gcp needs google-auth ({error}): {_HOW}") from None
        self._found: tuple[Any, str | None] | None = None

    def project(self) -> str | None:
        """That of the environment, the key file or `gcloud config`."""
        return self._load()[1]

    def headers(self, url: str) -> dict[str, str]:
        """A fresh token is asked for when the last one ends."""
        from google.auth import exceptions as problems

        found: dict[str, str] = {}
        try:
            self._load()[0].before_request(_transport, "GET", url, found)
        except problems.TransportError as error:
            raise ApiError("", str(error)) from None
        except problems.GoogleAuthError as error:
            raise ApiError("NoCredentials", str(error)) from None
        return found

    def _load(self) -> tuple[Any, str | None]:
        if self._found is None:
            import google.auth
            from google.auth import exceptions as problems

            # What it has to say about a project is said by us, where it matters.
            logging.getLogger("google.auth").addHandler(logging.NullHandler())
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._found = google.auth.default(scopes=[_SCOPE], request=_transport)
            except problems.GoogleAuthError as error:
                raise ApiError("NoCredentials", str(error)) from None
        return self._found


def _transport(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **_: Any,
) -> SimpleNamespace:
    """One HTTP request, as google-auth wants it made: any status is an answer."""
    from google.auth import exceptions as problems

    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout or _LIMIT_S) as answer:
            return SimpleNamespace(status=answer.status, headers=answer.headers, data=answer.read())
    except urllib.error.HTTPError as error:
        return SimpleNamespace(status=error.code, headers=error.headers, data=error.read())
    except OSError as error:
        raise problems.TransportError(str(error)) from None
