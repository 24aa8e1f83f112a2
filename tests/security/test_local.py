"""What other users of the same machine get: nothing.  And where the cluster's secrets are not."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import rayhpc as ray
from rayhpc.launch import node_config
from rayhpc.machine import scratch
from rayhpc.wire import bootstrap, keys
from rayhpc.wire.messages.cluster import PROTOCOL
from tests.security.conftest import Target

NOBODY = 65534


def test_everything_of_a_session_is_closed_to_others(target: Target) -> None:
    sockets_seen = 0
    for folder in target.folders:
        for name, folders, files in os.walk(folder):
            assert stat.S_IMODE(os.stat(name).st_mode) == 0o700, name
            assert all(not Path(name, each).is_symlink() for each in folders)
            for each in files:
                path = Path(name, each)
                mode = path.lstat().st_mode
                sockets_seen += stat.S_ISSOCK(mode)
                assert mode & 0o077 == 0, path
    assert sockets_seen >= 2 * len(target.folders)


def test_no_socket_has_an_abstract_name(target: Target) -> None:
    ours = {f"@{path}" for path in map(str, target.folders)}
    for pid in target.processes():
        inodes = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
            fields = line.split()
            if len(fields) > 7 and f"socket:[{fields[6]}]" in inodes:
                assert not fields[7].startswith("@"), (pid, fields[7], ours)


def as_nobody(action: Callable[[], str]) -> str:
    """What `action` returns (or raises) in a process of another user."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            said = action()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode()[:60000])
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as file:
        return file.read().decode()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@needs_root
def test_another_user_cannot_attach(target: Target) -> None:
    folder = target.folders[0]
    path = str(folder / "raylet.sock")
    hello = {
        "protocol": PROTOCOL,
        "version": node_config.rayhpc_version(),
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "role": "observer",
        "pid": os.getpid(),
    }

    def attach() -> str:
        bootstrap.attach(path, hello, 5.0)
        return "it attached"

    assert "Permission" in as_nobody(attach)
    # Even where the directories stand open, the raylet looks at who it is.
    modes = {each: each.stat().st_mode for each in (folder.parent, folder, Path(path))}
    try:
        for each in modes:
            each.chmod(0o777)
        said = as_nobody(attach)
    finally:
        for each, mode in modes.items():
            each.chmod(stat.S_IMODE(mode))
    assert said.startswith("AttachError"), said
    target.check_answers()


@needs_root
def test_another_user_can_read_and_open_nothing(target: Target) -> None:
    ref = ray.put(bytes(200_000))

    def look() -> str:
        opened = []
        for folder in target.folders:
            for path in (folder, folder / "p", folder / "logs", folder / "session.json"):
                try:
                    os.close(os.open(path, os.O_RDONLY))
                    opened.append(str(path))
                except OSError:
                    pass
            for name in ("raylet.sock", "p/0"):
                with socket.socket(socket.AF_UNIX) as sock:
                    try:
                        sock.connect(str(folder / name))
                        opened.append(name)
                    except OSError:
                        pass
        for pid in target.processes():
            for name in ("environ", "mem", "maps", "fd/0", "fd/5", "fd/64"):
                try:
                    os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
                    opened.append(f"{pid}/{name}")
                except OSError:
                    pass
        return repr(opened)

    assert as_nobody(look) == "[]"
    assert len(ray.get(ref)) == 200_000


def test_secrets_are_in_no_argument_environment_log_or_record(target: Target) -> None:
    seen = 0
    for pid in [*target.processes(), os.getpid()]:
        for name in ("cmdline", "environ"):
            data = Path(f"/proc/{pid}/{name}").read_bytes()
            seen += len(data) > 0
            assert not any(secret in data for secret in target.secrets()), (pid, name)
    assert seen > 6
    for folder in target.folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_socket():
                data = path.read_bytes()
                assert not any(secret in data for secret in target.secrets()), path


def test_secrets_are_not_shown(target: Target) -> None:
    for thing in (target.key, target.key.node, target.cluster._head_keys):
        for text in (repr(thing), str(thing), f"{thing!r:.1000}"):
            assert not any(secret.decode() in text for secret in target.secrets())


def test_a_saved_key_is_its_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv(scratch.VARIABLE, str(tmp_path))
    key = node_config.new_cluster().key
    path = keys.save(key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o640)
    with pytest.raises(keys.KeyFileError, match="chmod"):
        keys.load(str(path))
