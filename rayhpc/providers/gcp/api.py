"""Compute Engine's API: one HTTP request after the other, each with the user's credentials.

Used by `provider`.  It knows how calls are made and how they fail, not what is asked for.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

from rayhpc.providers.rest import LIMIT_S, ApiError, safe_endpoint, send

ENDPOINT = "https://compute.googleapis.com/compute/v1/"
_PAGE = 500


class Credentials(Protocol):
    """Whose requests they are.  Every method raises ApiError."""

    def project(self) -> str | None:
        """The project that belongs to them, if one does."""

    def headers(self, url: str) -> dict[str, str]:
        """Those of a request; the token among them is secret."""


class Compute:
    """The calls in one project.

    Args:
        project: its id; None: that of the credentials.
        credentials: whose calls they are.
        endpoint: another one than Google's, such as a private one.

    Raises:
        OptionError: the endpoint would have the token in the clear on a network.
    """

    def __init__(
        self, project: str | None, credentials: Credentials, endpoint: str | None = None
    ) -> None:
        self._project = project
        self._credentials = credentials
        self._endpoint = safe_endpoint(endpoint or ENDPOINT, "Compute Engine")

    def call(
        self,
        doing: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] = {},
        limit_s: float = LIMIT_S,
    ) -> dict[str, Any]:
        """One call.

        Args:
            doing: its name, for errors.
            method: HTTP's.
            path: below the project.
            body: what is sent, as JSON.
            query: the words after the path; empty ones are left out.
            limit_s: how long an answer may take.

        Raises:
            ApiError: it failed.
        """
        try:
            url = self._url(path, query)
            headers = self._credentials.headers(url)
            return send(method, url, headers, body, _refusal, limit_s).body
        except ApiError as error:
            raise ApiError(error.code, error.message, doing) from None

    def pages(self, doing: str, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """A list, page by page.  Raises ApiError."""
        more = ""
        while True:
            words = {**query, "maxResults": str(_PAGE), "pageToken": more}
            page = self.call(doing, "GET", path, query=words)
            yield page
            more = str(page.get("nextPageToken") or "")
            if not more:
                return

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        project = self._project or self._credentials.project()
        if not project:
            raise ApiError("NoProject", "which project?")
        self._project = project
        words = urlencode({key: value for key, value in query.items() if value})
        return f"{self._endpoint}/projects/{project}/{path}{'?' if words else ''}{words}"


def error_of(operation: Mapping[str, Any], doing: str) -> ApiError | None:
    """What has gone wrong in an operation that is done; None: nothing."""
    errors = (operation.get("error") or {}).get("errors") or []
    if not errors:
        return None
    return ApiError(str(errors[0].get("code", "")), str(errors[0].get("message", "")), doing)


def _refusal(error: urllib.error.HTTPError) -> ApiError:
    """Google's reason; where there is none (a proxy's answer) HTTP's number."""
    try:
        said = json.loads(error.read())["error"]
        reasons = said.get("errors") or [{}]
        return ApiError(str(reasons[0].get("reason") or error.code), str(said["message"]))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return ApiError(str(error.code), str(error.reason))
