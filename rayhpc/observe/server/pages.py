"""The application: the page, its events, and its queries.

Made by `serving`.  Every request passes the door first; nothing here changes any state.  All
addresses in the page are relative, so that it works under any path of a proxy.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from rayhpc.exit_codes import LaunchError
from rayhpc.observe.server.door import Door
from rayhpc.observe.server.feed import Feed

LOG_LINES_MOST = 500
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>rayhpc dashboard</title>
<link rel="stylesheet" href="report.css">
</head>
<body>
<div id="report" data-live>{text}</div>
<script src="report.js"></script>
</body>
</html>
"""
_STATIC = {"report.js": "text/javascript", "report.css": "text/css"}

Handler = Callable[[Request], Awaitable[Response]]


class Looker(Protocol):
    """Queries to the cluster beside the views; answers consist of plain JSON values."""

    async def log(self, text: str, most: int) -> Any:
        """Log lines that contain a text."""

    async def workers(self, node: int) -> Any:
        """A node's processes."""

    async def stacks(self, address: int) -> Any:
        """Where the threads of a process are now."""

    async def function(self, name: str) -> Any:
        """Everything about one function."""

    async def actor(self, actor: str) -> Any:
        """Everything about one actor."""


def application(door: Door, feed: Feed, looker: Looker) -> Starlette:
    """Make the whole application."""

    async def page(request: Request) -> Response:
        if "token" in request.query_params:
            # Keeps the token out of the address bar, the history and a proxy's log.
            return RedirectResponse("./", 303)
        text = "<noscript>This page needs scripts; the report does not.</noscript>"
        return Response(_PAGE.format(text=text), media_type="text/html")

    async def static(request: Request) -> Response:
        name = request.url.path.rsplit("/", 1)[-1]
        data = (resources.files("rayhpc.observe") / "static" / name).read_bytes()
        return Response(data, media_type=_STATIC[name])

    async def events(_: Request) -> Response:
        return StreamingResponse(feed.stream(), media_type="text/event-stream")

    async def log(request: Request) -> Response:
        return _json(await looker.log(request.query_params.get("text", ""), LOG_LINES_MOST))

    async def workers(request: Request) -> Response:
        return _json(await looker.workers(_number(request, "node")))

    async def stacks(request: Request) -> Response:
        return _json(await looker.stacks(_number(request, "address")))

    async def function(request: Request) -> Response:
        return _json(await looker.function(request.query_params.get("name", "")))

    async def actor(request: Request) -> Response:
        return _json(await looker.actor(request.query_params.get("id", "")))

    routes: dict[str, Handler] = {
        "/": page,
        **{f"/{name}": static for name in _STATIC},
        "/events": events,
        "/log": log,
        "/workers": workers,
        "/stacks": stacks,
        "/function": function,
        "/actor": actor,
    }
    return Starlette(
        routes=[Route(path, _guarded(door, of), methods=["GET"]) for path, of in routes.items()]
    )


def _guarded(door: Door, handler: Handler) -> Handler:
    """Answer requests that are refused with the reason, and nothing else."""

    async def guarded(request: Request) -> Response:
        token = request.query_params.get("token")
        cookie = request.cookies.get(door.cookie_name, "")
        verdict = door.judge(request.headers, cookie, token)
        if verdict.refusal:
            text = f"<p>{html.escape(verdict.refusal)}</p>"
            return Response(text, 403, _HEADERS, "text/html")
        try:
            response = await handler(request)
        except (LaunchError, ValueError) as error:
            response = _json({"error": str(error)}, 400)
        response.headers.update(_HEADERS)
        if verdict.cookie:
            response.set_cookie(door.cookie_name, verdict.cookie, httponly=True, samesite="strict")
        return response

    return guarded


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{name}={text!r} is not a number")
    return int(text)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
