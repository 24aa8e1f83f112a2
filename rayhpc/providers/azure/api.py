"""Azure Resource Manager's API: HTTP requests with the user's credentials, and what they begin.

Used by `provider` and `network`.  It knows how calls are made, how they fail and how an operation
that was accepted ends, not what is asked for.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from rayhpc.providers.rest import Answer, ApiError, one_line, safe_endpoint, send

ENDPOINT = "https://management.azure.com"
# Of each of Azure's services; a call without one, or with one that it does not know, is refused.
COMPUTE, NETWORK, RESOURCES = "2024-07-01", "2024-05-01", "2021-04-01"
# Too many calls: Azure says for how long to be silent, and it is waited for that long, so often.
_TIMES, _LONGEST_S = 3, 60.0
_PAUSE_S, _LEAST_S = 1.0, 0.1
_MOVING = ("inprogress", "running", "accepted", "creating", "updating", "deleting", "started")


class Credentials(Protocol):
    """Whose requests they are.  Every method raises ApiError."""

    def subscription(self) -> str | None:
        """The subscription that belongs to them, if one does."""

    def headers(self) -> dict[str, str]:
        """Those of a request; the token among them is secret."""


class Arm:
    """The calls in one subscription.

    Args:
        subscription: its id; None: that of the credentials.
        credentials: whose calls they are.
        endpoint: another one than the public cloud's.
        pause: waits so many seconds.

    Raises:
        OptionError: the endpoint would have the token in the clear on a network.
    """

    def __init__(
        self,
        subscription: str | None,
        credentials: Credentials,
        endpoint: str | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._subscription = subscription
        self._credentials = credentials
        #: Its address, without the last slash.
        self.endpoint = safe_endpoint(endpoint or ENDPOINT, "Azure")
        self._pause = pause

    def call(
        self,
        doing: str,
        method: str,
        path: str,
        version: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] = {},
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """One call.

        Args:
            doing: the right that it needs, such as `Microsoft.Compute/virtualMachines/write`.
            method: HTTP's.
            path: below the subscription.
            version: of the API.
            body: what is sent, as JSON.
            query: more words after the path.
            headers: more of HTTP's.

        Raises:
            ApiError: it failed.
        """
        try:
            words = urlencode({"api-version": version, **query})
            url = f"{self.endpoint}{self.identity(path)}?{words}"
            return self._answer(method, url, body, headers)
        except ApiError as error:
            raise ApiError(error.code, error.message, doing, error.retry_s) from None

    def identity(self, path: str) -> str:
        """The whole id of something by its path below the subscription.  Raises ApiError."""
        subscription = self._subscription or self._credentials.subscription()
        if not subscription:
            raise ApiError("NoSubscription", "which subscription?")
        self._subscription = subscription
        return quote(f"/subscriptions/{subscription}{f'/{path}' if path else ''}")

    def items(
        self, doing: str, path: str, version: str, query: Mapping[str, str] = {}
    ) -> Iterator[dict[str, Any]]:
        """A list, page by page.  Raises ApiError."""
        page = self.call(doing, "GET", path, version, query=query).body
        while True:
            yield from page.get("value") or ()
            more = page.get("nextLink")
            if not more:
                return
            page = self._follow(str(more), doing).body

    def end_of(self, began: Answer, doing: str, limit_s: float) -> bool:
        """Wait until what a call has begun is done.

        Args:
            began: what the call was answered with.
            doing: its name, for errors.
            limit_s: so long.

        Returns:
            False: it has not come to its end in that time.

        Raises:
            ApiError: it failed, or no answer comes.
        """
        where = began.headers.get("Azure-AsyncOperation")
        by_state = where is not None
        where = where or (began.headers.get("Location") if began.status == 202 else None)
        answer = began
        waited = 0.0
        while where:
            told = _seconds(answer.headers.get("Retry-After"))
            pause = _PAUSE_S if told is None else max(told, _LEAST_S)
            if waited + pause > limit_s:
                return False
            self._pause(pause)
            waited += pause
            answer = self._follow(where, doing)
            if by_state and _is_done(answer.body, doing):
                break
            if not by_state and answer.status != 202:
                break
        return True

    def _follow(self, url: str, doing: str) -> Answer:
        """An address that Azure has given; the token goes nowhere else."""
        if _server(url) != _server(self.endpoint):
            raise ApiError("", f"an answer leads away from {self.endpoint}, to {url}", doing)
        try:
            return self._answer("GET", url, None, {})
        except ApiError as error:
            raise ApiError(error.code, error.message, doing, error.retry_s) from None

    def _answer(
        self, method: str, url: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> Answer:
        """Of a call that may have to be made again: one too many has done nothing."""
        left = _TIMES
        while True:
            try:
                words = {**headers, **self._credentials.headers()}
                return send(method, url, words, body, _refusal)
            except ApiError as error:
                if left == 0 or error.retry_s is None or error.retry_s > _LONGEST_S:
                    raise
                self._pause(error.retry_s)
            left -= 1


def _server(url: str) -> tuple[str, str | None, int]:
    """Azure gives addresses with and without the usual port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or 443


def _is_done(operation: Mapping[str, Any], doing: str) -> bool:
    """Whether an operation has ended well; raises ApiError if it has ended otherwise."""
    state = str(operation.get("status", ""))
    if state.lower() in _MOVING:
        return False
    if state.lower() == "succeeded":
        return True
    code, message = _said(operation.get("error") or {})
    raise ApiError(code or state or "Failed", message or f"it ended as {state}", doing)


def _refusal(error: urllib.error.HTTPError) -> ApiError:
    """Azure's reason; where there is none (a proxy's answer) HTTP's number."""
    retry_s = _seconds(error.headers.get("Retry-After")) if error.code == 429 else None
    try:
        told = json.loads(error.read())
        code, message = _said(told.get("error") or told)
        return ApiError(code or str(error.code), message, retry_s=retry_s)
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return ApiError(str(error.code), str(error.reason), retry_s=retry_s)


def _said(error: Mapping[str, Any]) -> tuple[str, str]:
    """Its code and message, with those that it encloses, where they say more."""
    message = str(error.get("message", ""))
    inner = [str(x.get("message", "")) for x in error.get("details") or () if x.get("message")]
    more = [text for text in inner if text not in message]
    return str(error.get("code", "")), one_line(" ".join([message, *more]))


def _seconds(told: str | None) -> float | None:
    return float(told) if told is not None and told.isdecimal() else None
