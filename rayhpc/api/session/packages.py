"""Folders that tasks need on other nodes: packed once, kept by the head, unpacked by workers.

Used by `runtime_env`.  A package is named by the hash of its content, so a folder is sent once
per cluster however often it is used.  Never unpacks: workers do.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence

from rayhpc.api.session.ignore_patterns import Patterns, patterns_in
from rayhpc.runtime.process.client import Client
from rayhpc.wire.messages import cluster

SCHEME = "kv://"
SPACE = "packages"
MAX_BYTES = 256 * 2**20
UPLOAD_TIMEOUT_S = 300.0
# Never wanted, always large.
LEFT_OUT = (".git", "__pycache__", ".venv", ".hg", ".mypy_cache", ".pytest_cache", ".ruff_cache")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(path: str, excludes: Sequence[str] = (), *, under_own_name: bool = False) -> bytes:
    """A folder or file as a zip; the same content always gives the same bytes.

    Args:
        path: what to pack.
        excludes: patterns of what to leave out, in the syntax of `.gitignore`.  Such files in the
            folder count too.
        under_own_name: keep the folder's name as a prefix (as modules need).

    Raises:
        ValueError: the path does not exist, or its content exceeds the package limit.
    """
    if os.path.isfile(path) and zipfile.is_zipfile(path):
        return _archive(path)
    out = io.BytesIO()
    total = 0
    sizes: list[tuple[int, str]] = []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, file in _files(path, excludes, under_own_name):
            size = os.path.getsize(file)
            total += size
            sizes.append((size, name))
            if total > MAX_BYTES:
                raise ValueError(_too_large(path, sizes))
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if os.access(file, os.X_OK) else 0o644) << 16
            with open(file, "rb") as source:
                archive.writestr(entry, source.read())
    return out.getvalue()


def pack_file(name: str, content: bytes) -> bytes:
    """One file as a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return out.getvalue()


def _archive(path: str) -> bytes:
    """A user's own zip archive, unchanged."""
    size = os.path.getsize(path)
    if size > MAX_BYTES:
        raise ValueError(_too_large(path, [(size, os.path.basename(path))]))
    with open(path, "rb") as file:
        return file.read()


def uri_of(package: bytes) -> str:
    """The name of a package."""
    return SCHEME + hashlib.sha256(package).hexdigest()


def upload(client: Client, packages: dict[str, bytes]) -> None:
    """Send the head those packages (name → content) that it does not have.

    Raises:
        GetTimeoutError: the head did not answer in time.
    """
    for uri, package in packages.items():
        key = uri[len(SCHEME) :].encode()
        if key not in client.ask_head(cluster.KvKeys(SPACE, key), list[bytes]):
            question = cluster.KvPut(SPACE, key, package, overwrite=False)
            client.ask_head(question, bool, UPLOAD_TIMEOUT_S)


def check_known(client: Client, uris: Iterable[str]) -> None:
    """Check packages that were given by name.

    Raises:
        ValueError: the head does not have one of them.
    """
    for uri in uris:
        key = uri[len(SCHEME) :].encode()
        if key not in client.ask_head(cluster.KvKeys(SPACE, key), list[bytes]):
            raise ValueError(
                f"The cluster has no package {uri!r}: give the folder itself, which is packed and "
                "uploaded."
            )


def _files(path: str, excludes: Sequence[str], under_own_name: bool) -> Iterator[tuple[str, str]]:
    """(name in the package, path on disk) of every file, in a fixed order."""
    root = os.path.abspath(path)
    own = os.path.basename(root)
    if os.path.isfile(root):
        yield own, root
        return
    if not os.path.isdir(root):
        raise ValueError(f"The runtime environment names the folder {path!r}, which is missing.")
    seen: set[str] = set()
    patterns = [Patterns(excludes)]
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a symlink to a parent
            folders.clear()
            continue
        seen.add(real)
        inside = os.path.relpath(folder, root)
        prefix = "" if inside == "." else inside + "/"
        patterns += patterns_in(folder, prefix, os.environ)
        folders[:] = sorted(x for x in folders if not _is_left_out(prefix, x, True, patterns))
        for file in sorted(files):
            full = os.path.join(folder, file)
            if os.path.isfile(full) and not _is_left_out(prefix, file, False, patterns):
                yield (f"{own}/" if under_own_name else "") + prefix + file, full


def _is_left_out(prefix: str, base: str, is_folder: bool, patterns: Sequence[Patterns]) -> bool:
    return base in LEFT_OUT or any(x.leaves_out(prefix + base, is_folder) for x in patterns)


def _too_large(path: str, sizes: list[tuple[int, str]]) -> str:
    largest = ", ".join(f"{name} ({size >> 20} MiB)" for size, name in sorted(sizes)[-3:][::-1])
    return (
        f"{path!r} holds more than the {MAX_BYTES >> 20} MiB that a runtime environment may take "
        f"along; its largest files: {largest}. Leave them out with excludes=[…], or put them on a "
        "file system that all nodes share."
    )
