"""When a dashboard ends, and who can reach it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from rayhpc.exit_codes import LaunchError
from rayhpc.observe.server import serving


def test_it_ends_when_no_page_has_been_open_for_long_enough() -> None:
    async def run() -> list[str]:
        said: list[str] = []
        stopped = asyncio.Event()
        ending = serving.Ending(stopped.set, said.append, closed_s=0.0)
        ending.readers(0)
        ending.readers(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not stopped.is_set()
        ending.readers(0)
        await asyncio.wait_for(stopped.wait(), 60)
        return said

    (words,) = asyncio.run(run())
    assert "no page has been open" in words


def test_it_ends_with_the_cluster_though_its_pages_go_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "_LAST_WORDS_S", 0.0)

    async def run() -> list[str]:
        said: list[str] = []
        stopped = asyncio.Event()
        ending = serving.Ending(stopped.set, said.append)
        ending.readers(1)
        ending.over("the cluster ends")
        ending.readers(0)
        await asyncio.wait_for(stopped.wait(), 60)
        return said

    assert asyncio.run(run()) == ["the cluster ends; the dashboard ends with it"]


def test_another_user_of_the_machine_cannot_open_its_socket() -> None:
    if os.geteuid():
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory(prefix="rt-", dir="/tmp") as folder:
        # The directory is open, so that it is the socket itself that refuses.
        os.chmod(folder, 0o755)
        path = f"{folder}/s"
        with serving.listener(0, path):
            assert (_opened_by(0, path), _opened_by(65534, path)) == (0, errno.EACCES)


def _opened_by(user: int, path: str) -> int:
    """What comes of opening a socket as another user: 0, or the error."""
    child = os.fork()
    if not child:
        os.setuid(user)
        with socket.socket(socket.AF_UNIX) as sock:
            os._exit(sock.connect_ex(path))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_it_listens_on_loopback_or_on_a_socket_that_is_the_users_alone(tmp_path: Path) -> None:
    with serving.listener(0, None) as sock:
        host, port = sock.getsockname()
        assert (host, port > 0) == ("127.0.0.1", True)
        with pytest.raises(LaunchError, match=f"port {port}"):
            serving.listener(port, None)
    path = str(tmp_path / "s")
    with serving.listener(0, path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
