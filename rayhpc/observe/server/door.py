"""Access control: a link works once and sets a cookie; host names and origins must be ours.

Used by `pages` for every request.  Knows nothing of HTTP beyond the few headers it is given.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

# The names a browser may use for this machine; the port is whatever ssh forwards.
_OURS = ("localhost", "127.0.0.1", "::1")
_LINKS_MOST = 16
_SECRET_BYTES = 32


class Verdict(NamedTuple):
    """The decision about a request.

    Attributes:
        refusal: why it is refused, for the user (empty: it is admitted).
        cookie: the cookie to set, because the link was good (empty: none).
    """

    refusal: str = ""
    cookie: str = ""


class Door:
    """The door of one dashboard.

    Args:
        behind_proxy: every client was admitted by a proxy (JupyterHub's) through a socket that only
            this user can access: no link is needed, and the proxy's host name is as good as ours.
    """

    def __init__(self, behind_proxy: bool = False) -> None:
        self._behind_proxy = behind_proxy
        self._links: list[str] = []
        self._secret = secrets.token_urlsafe(_SECRET_BYTES)
        # Cookies ignore ports: each dashboard of this user needs a cookie name of its own.
        self.cookie_name = f"rayhpc-{secrets.token_hex(4)}"

    def new_link(self) -> str:
        """Make a token that admits one browser, once."""
        token = secrets.token_urlsafe(_SECRET_BYTES)
        self._links = [*self._links[1 - _LINKS_MOST :], token]
        return token

    def judge(self, headers: Mapping[str, str], cookie: str, token: str | None) -> Verdict:
        """Decide whether to admit a request.

        Args:
            headers: the request's, with names in lower case.
            cookie: the value of our cookie (empty: none came).
            token: the token in the address (None: none came).
        """
        refusal = self._origin_refusal(headers)
        if refusal or self._behind_proxy:
            return Verdict(refusal)
        # A second tab that opens the same link has the cookie of the first.
        if cookie and secrets.compare_digest(cookie.encode(), self._secret.encode()):
            return Verdict()
        if token is None:
            return Verdict(
                "This dashboard opens with the link that `rayhpc dashboard` has printed."
            )
        for link in self._links:
            if secrets.compare_digest(token.encode(), link.encode()):
                self._links.remove(link)
                return Verdict(cookie=self._secret)
        return Verdict(
            "This link is wrong, or has been used: it opens the dashboard in one browser, once. "
            "Press Enter where `rayhpc dashboard` runs, and it prints another."
        )

    def _origin_refusal(self, headers: Mapping[str, str]) -> str:
        host = headers.get("host", "")
        if not self._behind_proxy and _name(f"//{host}") not in _OURS:
            return "This dashboard answers to localhost alone."
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "Another page's scripts may not read this dashboard."
        site = headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") and headers.get("sec-fetch-mode") != "navigate":
            return "Another page may not read this dashboard."
        return ""


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
