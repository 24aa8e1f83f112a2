"""The dashboard through a real jupyter-server-proxy, below the path JupyterHub gives a user."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.shell import FREE, Shell
from tests.cli.test_top import Program
from tests.observe import browser

pytest.importorskip("jupyter_server_proxy", reason="pip install 'rayhpc[guests]'")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

PREFIX = "/user/anna/"
TOKEN = "the-hubs-token"


@contextmanager
def jupyter(home: Path) -> Iterator[int]:
    """A Jupyter server as JupyterHub starts one; its port."""
    command = [sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser"]
    options = {"ip": "127.0.0.1", "port": "0", "base_url": PREFIX, "root_dir": str(home)}
    environ = {**os.environ, "JUPYTER_TOKEN": TOKEN, "HOME": str(home)}
    with subprocess.Popen(
        [*command, *(f"--ServerApp.{name}={value}" for name, value in options.items())],
        env=environ,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            said = ""
            while (found := re.search(rf"http://127\.0\.0\.1:(\d+){PREFIX}", said)) is None:
                line = process.stderr.readline()
                assert line, said
                said += line
            port = int(found[1])
            # It says where before it listens there.
            while not _is_open(port):
                assert process.poll() is None
            yield port
        finally:
            # It ends what it has started.
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def _is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def get(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", PREFIX + path, headers=headers)
    return connection.getresponse()


def test_the_proxy_starts_it_and_lets_its_own_users_see_it(shell: Shell, home: Path) -> None:
    record = shell.start(*FREE)
    with Program(record.address), jupyter(home) as port:
        assert get(port, "rayhpc/events").status in (302, 403)
        ours = {"Authorization": f"token {TOKEN}"}
        page = get(port, "rayhpc/", **ours)
        text = page.read().decode()
        assert (page.status, "data-live" in text) == (200, True), text
        # All that it asks for lies below the path that the proxy has given it.
        assert not re.search(r"(src|href)=\"(/|http)", text)
        assert get(port, "rayhpc/report.js", **ours).status == 200
        other = get(port, "rayhpc/events", Origin="https://evil.example", **ours)
        assert other.status == 403
        events = get(port, "rayhpc/events", Accept="text/event-stream", **ours)
        assert any(b'"name":"square"' in line for line in events)
        if browser.program() is not None:
            _in_a_browser(f"http://127.0.0.1:{port}{PREFIX}rayhpc/?token={TOKEN}")


def _in_a_browser(address: str) -> None:
    with browser.Browser() as page:
        page.go(address)
        page.wait_for("document.querySelector('#functions-now')?.innerText.includes('square')")
        assert page.value("location.search") == ""
        page.value("document.querySelector('#logs button').click()")
        page.wait_for("document.querySelector('#logs pre')?.innerText.includes('nap begins')")
        page.value("document.querySelector('#workers button').click()")
        page.wait_for("document.querySelector('.workers button')")
