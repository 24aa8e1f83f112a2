"""HTTP to Hadoop's daemons: JSON and files, with Kerberos if the cluster requires it.

Used by `webhdfs` and by whatever reads REST pages.  Follows the redirects of a standby.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from typing import IO, Any

from rayhpc.hadoop import spnego
from rayhpc.hadoop.errors import WebError

_TIMEOUT_S = 30.0
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


class Web:
    """HTTP on behalf of one user.

    Args:
        secure: whether to present a Kerberos ticket.
        user: who we claim to be, where nobody checks.
    """

    def __init__(self, *, secure: bool, user: str) -> None:
        self._secure, self._user = secure, user
        self._opener = urllib.request.build_opener(_NoRedirects)

    def json(self, method: str, url: str, body: object = None) -> Any:
        """A JSON answer; an empty one is None.

        Raises:
            WebError: the server answers with an error.
            KerberosError: there is no ticket.
            OSError: it cannot be reached.
        """
        data = None if body is None else json.dumps(body).encode()
        answer = self.send(method, url, data, "application/json")
        try:
            return json.loads(answer) if answer.strip() else None
        except ValueError:
            raise WebError(200, f"{url} did not answer with JSON: is it Hadoop's?") from None

    def send(
        self, method: str, url: str, data: bytes | IO[bytes] | None = None, kind: str = ""
    ) -> bytes:
        """The bytes of an answer, redirects followed; raises the same as `json`."""
        for _ in range(_MOST_REDIRECTS):
            request = urllib.request.Request(self._named(url), data, method=method)
            if data is not None:
                request.add_header("Content-Type", kind or "application/octet-stream")
            if self._secure:
                host = urllib.parse.urlsplit(url).hostname or ""
                request.add_header("Authorization", spnego.authorization(host))
            try:
                with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError as error:
                target = error.headers.get("Location")
                if error.code not in _REDIRECTS or not target:
                    raise _in_words(error, url) from None
                url = urllib.parse.urljoin(url, target)
            except urllib.error.URLError as error:
                raise ConnectionError(f"{url}: {error.reason}") from None
        raise WebError(310, f"{url} is redirected in a circle")

    def _named(self, url: str) -> str:
        if self._secure or "user.name=" in url:
            return url
        return f"{url}{'&' if '?' in url else '?'}user.name={urllib.parse.quote(self._user)}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are followed explicitly: urllib does not repeat a PUT or POST."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: Any,
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> None:
        return None


def _in_words(error: urllib.error.HTTPError, url: str) -> WebError:
    """The server's own exception, if it sends one."""
    try:
        remote = json.loads(error.read())["RemoteException"]
        text = f"{remote['exception']}: {remote['message'].partition(chr(10))[0]}"
    except (ValueError, KeyError, TypeError, OSError):
        text = error.reason or f"status {error.code}"
    place = url.partition("?")[0]
    return WebError(error.code, f"{place}: {text}")
