"""Calls to a cloud's API over HTTP, as JSON, with the user's credentials.

Used by the `api` modules of `gcp` and `azure`, which know how their cloud refuses.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rayhpc.batch.errors import OptionError

LIMIT_S = 30.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ApiError(Exception):
    """A call that failed.

    Attributes:
        code: the cloud's own, such as `quotaExceeded`; empty: no answer came, so whether it has
            been done is unknown.
        message: in its own words.
        doing: the call, by the name that rights to it have.
        retry_s: after how many seconds the cloud wants to be asked again; None: it does not say.
    """

    def __init__(
        self, code: str, message: str, doing: str = "", retry_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.doing = doing
        self.retry_s = retry_s


@dataclass(frozen=True)
class Answer:
    """What a call was answered with; `body` is empty where there was none."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An answer that sends us elsewhere is an error: the token would go there as well."""

    def redirect_request(self, *_: object) -> None:
        """To nowhere."""


def safe_endpoint(endpoint: str, title: str) -> str:
    """An API's address without its last slash.

    Raises:
        OptionError: the token would go over a network in the clear.
    """
    found = endpoint.rstrip("/")
    url = urlsplit(found)
    if url.scheme != "https" and url.hostname not in _LOOPBACK:
        raise OptionError(f"{found} is no endpoint for {title}: the token goes over https")
    return found


def send(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: Mapping[str, Any] | None,
    refusal: Callable[[urllib.error.HTTPError], ApiError],
    limit_s: float = LIMIT_S,
) -> Answer:
    """One request.

    Args:
        method, url, headers: HTTP's.
        body: what is sent, as JSON.
        refusal: what an answer means that is an error.
        limit_s: how long an answer may take.

    Raises:
        ApiError: it failed.
    """
    words = {**headers, "Accept": "application/json"}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        words["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data, words, method=method)
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=limit_s) as answer:
            found: dict[str, Any] = json.loads(answer.read() or b"{}")
            return Answer(answer.status, answer.headers, found)
    except urllib.error.HTTPError as error:
        raise refusal(error) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ApiError("", str(error) or type(error).__name__) from None


def one_line(text: str) -> str:
    """A cloud's words on one line."""
    return " ".join(text.split())
