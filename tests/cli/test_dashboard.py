"""`rayhpc dashboard` on a real cluster: who is let in, what is told, and its end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rayhpc.cli import dashboard
from tests.cli.shell import FREE, Shell, heads_of
from tests.cli.test_top import Program

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

MARKUP = "<img src=x onerror=alert(1)>"


class Page:
    """A browser of one user, as far as a dashboard can see it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""

    def get(self, path: str, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("localhost", self.port, timeout=30)
        known = {"Cookie": self.cookie} if self.cookie else {}
        connection.request("GET", path, headers={**known, **headers})
        return connection.getresponse()

    def status(self, path: str, **headers: str) -> tuple[int, str]:
        response = self.get(path, **headers)
        return response.status, response.read().decode()

    def json(self, path: str) -> Any:
        status, text = self.status(path)
        assert status == 200, text
        return json.loads(text)

    def events(self) -> Iterator[tuple[str, Any]]:
        response = self.get("/events")
        assert response.status == 200
        name = ""
        for line in response:
            text = line.decode().rstrip("\n")
            if text.startswith("event: "):
                name = text.removeprefix("event: ")
            elif text.startswith("data: "):
                yield name, json.loads(text.removeprefix("data: "))


@contextmanager
def running(*words: str) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A dashboard: its process, port and token."""
    command = [sys.executable, "-m", "rayhpc.cli.main", "dashboard", *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, **pipes) as process:
        try:
            assert process.stdout is not None
            link = process.stdout.readline()
            found = re.fullmatch(r"http://localhost:(\d+)/\?token=(\S+)\n", link)
            assert found is not None, link
            yield process, int(found[1]), found[2]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def test_who_is_let_in_what_is_told_and_how_it_ends(shell: Shell) -> None:
    record = shell.start(*FREE)
    with Program(record.address), running("--address", record.address) as (process, port, token):
        stranger, page = Page(port), Page(port)
        assert stranger.status("/")[0] == 403
        assert stranger.status("/events")[0] == 403
        assert stranger.status("/report.js")[0] == 403
        assert stranger.status("/?token=wrong")[0] == 403
        assert page.status(f"/?token={token}", Host="evil.example")[0] == 403
        _enter(page, token)
        assert stranger.status(f"/?token={token}")[0] == 403
        assert page.status("/events", Origin="https://evil.example")[0] == 403
        assert page.status("/events", Host="evil.example")[0] == 403
        assert page.get("/static/../door.py").status == 404
        second = Page(port)
        second.cookie = page.cookie
        _page_is_closed(second)
        events = page.events()
        seen = _told(events)
        assert seen["square"]["count"] == 50
        _questions(page)
        shell("stop", "--grace", "10")
        assert any(name == "ended" for name, _ in events)
        assert process.wait(30) == 0
        assert process.stderr is not None
        said = process.stderr.read()
    assert "the dashboard ends with it" in said
    assert "ssh -N -L" in said
    assert token not in said


def test_a_head_that_is_lost_and_comes_back_is_waited_for(shell: Shell) -> None:
    record = shell.start(*FREE)
    with Program(record.address), running("--address", record.address) as (process, port, token):
        page = Page(port)
        _enter(page, token)
        events = page.events()
        assert _told(events)["square"]["count"] == 50
        (head,) = heads_of(record.pid)
        os.kill(head, signal.SIGKILL)
        # A look may have been under way; the second one is answered by the next head.
        looks = 0
        for name, data in events:
            assert name in ("now", "views", "silent"), data
            looks += name == "now"
            if looks == 2:
                break
        assert heads_of(record.pid).isdisjoint({head})
        # And so are those who ask for more.
        assert page.json("/workers?node=1")
        # Ctrl-C under an open page ends it without a word.
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read().rstrip().endswith("ten minutes after its last page")


def _enter(page: Page, token: str) -> None:
    response = page.get(f"/?token={token}")
    assert (response.status, response.headers["Location"]) == (303, "./")
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    page.cookie = cookie.partition(";")[0]


def _page_is_closed(page: Page) -> None:
    response = page.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in policy
    text = response.read().decode()
    assert not re.search(r"https?://|=\"/", text)
    assert page.status("/report.js")[0] == 200


def _told(events: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    """The functions, once a look has found some."""
    found: dict[str, Any] = {}
    kinds: set[str] = set()
    for name, data in events:
        kinds.add(name)
        functions = data.get("parts", {}).get("functions", []) if name == "now" else []
        if name == "now":
            functions += data.get("rows", {}).get("functions", {}).get("rows", [])
        found.update({x["name"]: x for x in functions})
        if "square" in found and kinds == {"now", "views"}:
            return found
    raise AssertionError(found)


def _questions(page: Page) -> None:
    assert [x["text"].split(") ")[1] for x in page.json("/log?text=nap+BEGINS")] == ["nap begins"]
    workers = page.json("/workers?node=1")
    actor = next(x for x in workers if x["actor"])
    stacks = page.json(f"/stacks?address={actor['address']}")
    assert any("in nap" in x["frames"] for x in stacks["threads"])
    assert page.json("/function?name=square")["functions"][0]["count"] == 50
    assert page.json(f"/actor?id={actor['actor']}")["actors"][0]["class_name"] == "Sleeper"
    assert page.status("/actor?id=xyz")[0] == 400
    assert page.status("/workers?node=-1")[0] == 400
    assert page.status(f"/stacks?address={int(actor['address']) + 1000}")[0] == 400


def test_behind_a_proxy_it_needs_a_socket_in_a_directory_of_the_users(
    shell: Shell, tmp_path: Path
) -> None:
    record = shell.start(*FREE)
    where = ["--address", record.address, "--behind-proxy"]
    done = shell("dashboard", *where)
    assert "needs --unix-socket" in done.stderr
    os.chmod(tmp_path, 0o755)
    done = shell("dashboard", *where, "--unix-socket", str(tmp_path / "s"))
    assert "others can enter" in done.stderr
    os.chmod(tmp_path, 0o700)
    path = tmp_path / "s"
    words = [part.format(unix_socket=path) for part in dashboard.for_jupyter()["command"]]
    words[words.index("auto")] = record.address
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        try:
            text = _over_unix(path)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    assert text.startswith("HTTP/1.1 200")
    assert "data-live" in text


def _over_unix(path: Path) -> str:
    """The page, through a proxy that has let somebody in."""
    while True:
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(path))
            except OSError:  # it starts; the test's time limit ends this
                continue
            sock.sendall(b"GET / HTTP/1.1\r\nHost: hub.example.org\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()
