"""Keys: how they are created, and where a user's clusters keep theirs.

Used by `launch` (creates, saves, finds), and by everything that opens a TCP socket.  Never puts a
secret into an argument, an environment variable, a log or an exception: printing a key here prints
only its public half.

A cluster's key file is `$XDG_CONFIG_HOME/rayhpc/keys/<cluster id>` (or under `~/.config`), readable
only by its owner, and removed when the cluster ends.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import zmq
from zmq.utils import z85

KEY_VERSION = 1
PUBLIC_BYTES = 40  # Z85
_FILE_MAX = 65536


class KeyFileError(Exception):
    """A key cannot be read, saved or trusted; the text says why and what to do."""


class KeyPair(msgspec.Struct, frozen=True):
    """A CURVE key pair; both halves are Z85, 40 bytes."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r})"

    def __rich_repr__(self) -> Any:
        yield "public", self.public

    def is_valid(self) -> bool:
        """Whether the two halves belong together."""
        try:
            return bool(zmq.curve_public(self.secret) == self.public)
        except (ValueError, zmq.ZMQError):
            return False


class ClusterKey(msgspec.Struct, frozen=True):
    """Everything a node must know to join a cluster; secret.

    `cluster_id` is 32 hex digits, `node` the client key pair of all nodes, `head_public` the server
    key that the head must prove it has, `head_endpoints` where it listens, best first.
    """

    cluster_id: str
    node: KeyPair
    head_public: bytes
    head_endpoints: list[tuple[str, int]]
    version: int = KEY_VERSION


def new_key_pair() -> KeyPair:
    """A new key pair."""
    return KeyPair(*zmq.curve_keypair())


def new_cluster_id() -> str:
    """A new cluster id: 32 hex digits."""
    return os.urandom(16).hex()


def encode(key: ClusterKey) -> bytes:
    """The key as one line of JSON, which `load` reads; secret."""
    return msgspec.json.encode(key) + b"\n"


def decode(data: bytes, source: str) -> ClusterKey:
    """Read what `encode` wrote; `source` names it in errors.

    Raises:
        KeyFileError: it is not a key, or one of another version of rayhpc.
    """
    try:
        key = msgspec.json.decode(data, type=ClusterKey)
    except msgspec.DecodeError:
        # Not chained: msgspec's message may quote its input.
        raise KeyFileError(
            f"{source} holds no rayhpc cluster key; use the file that `rayhpc start --head` named."
        ) from None
    if key.version != KEY_VERSION:
        raise KeyFileError(
            f"The key in {source} has format {key.version}, but this rayhpc reads {KEY_VERSION}: "
            "use the same version of rayhpc on all nodes."
        )
    if not _is_cluster_id(key.cluster_id) or not key.node.is_valid() or not _is_public(key):
        raise KeyFileError(f"The key in {source} is damaged; copy it again from the head's node.")
    return key


def save(key: ClusterKey) -> Path:
    """Save a cluster's key for this user's later commands.

    Returns:
        The file.

    Raises:
        KeyFileError: the directory is accessible to others, or the file exists already.
    """
    path = _make_folder() / key.cluster_id
    write(path, key)
    return path


def write(path: Path, key: ClusterKey) -> None:
    """Write a cluster's key to a new file that nobody else can read.

    Raises:
        KeyFileError: it exists already, or cannot be created.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} already exists; remove it if that cluster has ended.") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be created: {error.strerror}.") from error
    with os.fdopen(fd, "wb") as file:
        file.write(encode(key))
        file.flush()
        os.fsync(file.fileno())


def load(path: str) -> ClusterKey:
    """Read a key file; "-" is standard input (its first line).

    Raises:
        KeyFileError: it is missing, someone else's, readable by others, or not a key.
    """
    if path == "-":
        return decode(sys.stdin.buffer.readline(_FILE_MAX), "standard input")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be opened: {error.strerror}.") from error
    with os.fdopen(fd, "rb") as file:
        _check_file(path, os.fstat(fd))
        return decode(file.read(_FILE_MAX), path)


def find(address: str) -> ClusterKey | None:
    """The saved key of the cluster whose head listens on `address` ("ip:port"), if there is one."""
    try:
        names = sorted(os.listdir(_folder()))
    except OSError:
        return None
    for name in names:
        if not _is_cluster_id(name):
            continue
        try:
            key = load(str(_folder() / name))
        except KeyFileError:
            continue
        if any(address in (f"{ip}:{port}", f"[{ip}]:{port}") for ip, port in key.head_endpoints):
            return key
    return None


def remove(cluster_id: str) -> None:
    """Remove a saved key, if it exists."""
    if _is_cluster_id(cluster_id):
        (_folder() / cluster_id).unlink(missing_ok=True)


def _folder() -> Path:
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(configured) if os.path.isabs(configured) else Path.home() / ".config"
    return base / "rayhpc" / "keys"


def _make_folder() -> Path:
    folder = _folder()
    try:
        folder.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (folder.parent, folder):
            path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise KeyFileError(
            f"{folder} cannot be created: {error.strerror}. Set XDG_CONFIG_HOME to a directory "
            "that you can write to, on a file system that your nodes share."
        ) from error
    facts = os.lstat(folder)
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise KeyFileError(
            f"{folder} must be a directory of your own that nobody else can enter: "
            f"chmod 700 {folder}"
        )
    return folder


def _check_file(path: str, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
        raise KeyFileError(f"The key file {path} does not belong to you; it is ignored.")
    if facts.st_mode & 0o077:
        raise KeyFileError(
            f"Others can read the key file {path}, so it protects nothing: start a new cluster, "
            f"or, if you are sure nobody has, chmod 600 {path}"
        )


def _is_cluster_id(text: str) -> bool:
    return len(text) == 32 and set(text) <= set("0123456789abcdef")


def _is_public(key: ClusterKey) -> bool:
    try:
        return len(z85.decode(key.head_public)) == 32
    except ValueError:
        return False
