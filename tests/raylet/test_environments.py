"""Runtime environments: packages fetched and unpacked once, failures told in words."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import zipfile
from pathlib import Path
from typing import Any

import msgspec

from rayhpc.raylet.environments import PLAIN, Environments
from rayhpc.wire.messages import cluster


def package(files: dict[str, str], mode: int = 0o644) -> tuple[str, bytes]:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, text)
    content = data.getvalue()
    return f"kv://{hashlib.sha256(content).hexdigest()}", content


class Site:
    def __init__(self, folder: Path) -> None:
        self.sent: list[Any] = []
        self.woken = threading.Event()
        self.environments = Environments(
            str(folder),
            lambda _, m: self.sent.append(m),
            lambda: len(self.sent) + 1,
            self.woken.set,
        )

    def answer(self, content: bytes | None) -> None:
        request = self.sent[-1]
        reply = cluster.Reply(request.token, msgspec.msgpack.encode(content))
        assert self.environments.on_reply(reply)
        if content is not None:
            assert self.woken.wait(60)
            self.woken.clear()
            self.environments.collect()


def test_nothing_asked_is_there_at_once(tmp_path: Path) -> None:
    assert Site(tmp_path).environments.get(b"") is PLAIN


def test_a_working_dir_is_fetched_and_unpacked_once(tmp_path: Path) -> None:
    site = Site(tmp_path / "packages")
    uri, content = package({"main.py": "x = 1", "bin/tool": "#!"}, 0o755)
    text = json.dumps({"working_dir": uri, "env_vars": {"A": "1"}}).encode()
    assert site.environments.get(text) is None
    assert site.environments.get(text) is None
    assert len(site.sent) == 1
    site.answer(content)
    found = site.environments.get(text)
    assert found is not None
    assert found.error == ""
    assert found.environ == {"A": "1"}
    assert Path(found.folder, "main.py").read_text() == "x = 1"
    assert os.access(Path(found.folder, "bin/tool"), os.X_OK)
    assert found.path == [found.folder]
    other = json.dumps({"py_modules": [uri]}).encode()
    again = site.environments.get(other)
    assert again is not None
    assert (again.folder, again.path) == ("", [found.folder])
    assert len(site.sent) == 1


def test_a_package_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path)
    uri, _ = package({"a": "1"})
    _, other = package({"a": "2"})
    text = json.dumps({"working_dir": uri}).encode()
    site.environments.get(text)
    site.answer(other)
    found = site.environments.get(text)
    assert found is not None
    assert "hash" in found.error


def test_a_package_that_the_head_does_not_have(tmp_path: Path) -> None:
    site = Site(tmp_path)
    text = json.dumps({"working_dir": "kv://" + "0" * 64}).encode()
    site.environments.get(text)
    site.answer(None)
    found = site.environments.get(text)
    assert found is not None
    assert "does not have it" in found.error


def test_a_package_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    site = Site(tmp_path / "packages")
    uri, content = package({"../outside": "x", "/absolute": "y"})
    text = json.dumps({"working_dir": uri}).encode()
    site.environments.get(text)
    site.answer(content)
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "packages" / "outside").exists()


def test_what_is_not_served_is_named(tmp_path: Path) -> None:
    found = Site(tmp_path).environments.get(b'{"conda": "x"}')
    assert found is not None
    assert "conda" in found.error
