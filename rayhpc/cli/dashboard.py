"""`rayhpc dashboard`: the live views in a browser, by one process that ends by itself.

Called by users on any machine with the batch system, and on the cluster's nodes; for a job that
runs elsewhere it calls itself again, with `--here`, on the head's node.  jupyter-server-proxy
starts it through `for_jupyter`.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rayhpc.cli import forward, observed
from rayhpc.cli.job_access import here_option, job_dir_option
from rayhpc.cli.saying import say
from rayhpc.exit_codes import ExitCode, LaunchError

if TYPE_CHECKING:
    from rayhpc.launch.sessions import SessionRecord
    from rayhpc.launch.watcher import Watcher
    from rayhpc.observe.server.door import Door


@click.command()
@observed.job_argument
@observed.address_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port on loopback; 0: a free one.",
)
@click.option(
    "--unix-socket",
    type=click.Path(path_type=Path),
    help="Listen on this Unix socket instead, in a directory that is yours alone.",
)
@click.option(
    "--behind-proxy",
    is_flag=True,
    help="Whoever comes through --unix-socket was let in by a proxy (JupyterHub's): no link.",
)
@click.option("--login", metavar="HOST", help="The login node's name as seen from a laptop.")
@here_option
@job_dir_option
def dashboard(
    job: str | None,
    address: str | None,
    port: int,
    unix_socket: Path | None,
    behind_proxy: bool,
    login: str | None,
    here: bool,
    job_dir: Path | None,
) -> int:
    """Serve the live views to your browser, until nobody has looked for ten minutes.

    One process, started now, on loopback: its link works once, and it only reads.
    """
    if behind_proxy and unix_socket is None:
        raise click.UsageError("--behind-proxy needs --unix-socket: anybody here reaches a port")
    words = ["dashboard", "--port", str(port), "--login", login or socket.getfqdn()]
    if unix_socket is not None:
        words += ["--unix-socket", str(unix_socket)]
    record = observed.session(job, address, here, job_dir, words, is_screen=True)
    for name in ("starlette", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise LaunchError(
                f"`rayhpc dashboard` serves with {name}, which is not installed: "
                "pip install 'rayhpc[dashboard]' (`rayhpc report` needs nothing)",
                ExitCode.CONFIGURATION,
            )
    observed.give_way()
    asyncio.run(_serve(record, port, unix_socket, behind_proxy, login))
    return 0


def for_jupyter() -> dict[str, Any]:
    """How jupyter-server-proxy starts it: behind its own door, on a socket that is the user's."""
    command = [sys.executable, "-m", "rayhpc.cli.main", "dashboard", "--address", "auto"]
    return {
        "command": [*command, "--unix-socket", "{unix_socket}", "--behind-proxy"],
        "unix_socket": True,
        "timeout": 30,
        "new_browser_tab": True,
        "launcher_entry": {"enabled": True, "title": "rayhpc dashboard"},
    }


async def _serve(
    record: SessionRecord, port: int, path: Path | None, behind_proxy: bool, login: str | None
) -> None:
    from rayhpc.launch.watcher import Watcher
    from rayhpc.observe.server import serving
    from rayhpc.observe.server.door import Door
    from rayhpc.observe.server.feed import Feed
    from rayhpc.observe.server.pages import application

    if path is not None:
        observed.check_private(path.parent)
    door = Door(behind_proxy)
    loop = asyncio.get_running_loop()

    def on_readers(count: int) -> None:
        ending.readers(count)
        if count:
            watcher.is_wanted.set()
        else:
            watcher.is_wanted.clear()

    def end(reason: str) -> None:
        feed.end(reason)
        ending.over(reason)

    feed = Feed(on_readers)
    watcher = Watcher(
        record.session_dir,
        record.address,
        observed.time_limit(),
        lambda now, views: _soon(loop, feed.put, now, views),
        lambda text: _soon(loop, feed.be_silent, text),
        lambda reason: _soon(loop, end, reason),
    )
    sock = serving.listener(port, None if path is None else str(path))
    server = serving.server(application(door, feed, _Looker(watcher)), feed.close)
    ending = serving.Ending(functools.partial(setattr, server, "should_exit", True), say)
    ending.readers(0)
    watcher.start()
    if not behind_proxy:
        place = str(sock.getsockname()[1]) if path is None else str(path)
        _say_where(record, door, place, login)
        serving.on_enter(lambda: _say_link(door, place))
    try:
        await server.serve(sockets=[sock])
    finally:
        watcher.close()
        if path is not None:
            path.unlink(missing_ok=True)


def _soon(loop: asyncio.AbstractEventLoop, call: Any, *words: Any) -> None:
    try:
        loop.call_soon_threadsafe(call, *words)
    except RuntimeError:  # the loop has ended, and we with it
        return


def _say_where(record: SessionRecord, door: Door, place: str, login: str | None) -> None:
    say(f"dashboard of the cluster at {record.address}; the link works once, in one browser:")
    _say_link(door, place)
    line = forward.ssh_line(
        place, place if place.isdigit() else "8787", socket.gethostname(), login
    )
    say(f"from a laptop, beside it: {line}")
    say("Enter prints another link, Ctrl-C ends it; it ends ten minutes after its last page")


def _say_link(door: Door, place: str) -> None:
    port = place if place.isdigit() else "8787"
    click.echo(f"http://localhost:{port}/?token={door.new_link()}")


class _Looker:
    """What the pages ask for, answered in the watcher's thread."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    async def log(self, text: str, most: int) -> Any:
        return await asyncio.wrap_future(self._watcher.log(text, most))

    async def workers(self, node: int) -> Any:
        return await asyncio.wrap_future(self._watcher.workers(node))

    async def stacks(self, address: int) -> Any:
        return await asyncio.wrap_future(self._watcher.stacks(address))

    async def function(self, name: str) -> Any:
        from rayhpc.observe.views.one import function_page

        found = await asyncio.wrap_future(self._watcher.snapshot())
        return None if found is None else function_page(found, name)

    async def actor(self, actor: str) -> Any:
        from rayhpc.observe.views.one import actor_page

        found = await asyncio.wrap_future(self._watcher.snapshot())
        return None if found is None else actor_page(found, actor)
