"""Where an application's files are placed so that the nodes can fetch them.

Used by `jobs`.  A directory that the nodes see under the same path, HDFS over HTTP (WebHDFS), or
HDFS through an installed `hdfs` command.
"""

from __future__ import annotations

import shutil
import subprocess
import urllib.parse
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from rayhpc.batch.errors import OptionError, SchedulerError
from rayhpc.batch.yarn.application import Resource
from rayhpc.hadoop.configuration import Configuration
from rayhpc.hadoop.webhdfs import WebHdfs, open_webhdfs

if TYPE_CHECKING:
    from rayhpc.hadoop.web import Web

# What YARN unpacks, which it sees by the name that a file has where it is staged: any other it only
# copies.
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
_COMMAND_S = 300
# Where HDFS has the homes of its users.
_HOMES = "dfs.user.home.dir.prefix"


class Staging(ABC):
    """One application's staging area; nothing there outlives `remove`."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> Resource:
        """Store a file."""

    @abstractmethod
    def put_file(self, name: str, source: Path, unpack: bool) -> Resource:
        """Store a file from this machine; with `unpack` YARN unpacks it on the nodes."""

    @abstractmethod
    def remove(self) -> None:
        """Remove all of it."""


class SharedDirectory(Staging):
    """A directory below the job's folder, which the nodes can see."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes) -> Resource:
        """Write it there."""
        path = self._place(name)
        path.write_bytes(data)
        path.chmod(0o600)
        return self.put_file(name, path, unpack=False)

    def put_file(self, name: str, source: Path, unpack: bool) -> Resource:
        """The nodes can already see it; only a wheel needs a name by which YARN unpacks it."""
        if unpack and not source.name.endswith(ARCHIVES):
            source = Path(shutil.copyfile(source, self._place(_staged_name(name, source, unpack))))
        facts = source.stat()
        stamp = facts.st_mtime_ns // 10**6
        return Resource(name, "file", "", 0, str(source.absolute()), facts.st_size, stamp, unpack)

    def remove(self) -> None:
        """The user's own files stay."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _place(self, name: str) -> Path:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return self._folder / name


class Hdfs(Staging):
    """A directory in HDFS, over HTTP."""

    def __init__(self, configuration: Configuration, web: Web, folder: str) -> None:
        self._files: WebHdfs = open_webhdfs(configuration, web)
        parts = urllib.parse.urlsplit(configuration["fs.defaultFS"])
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._folder = folder if folder.startswith("/") else f"{self._files.home()}/{folder}"

    def put(self, name: str, data: bytes) -> Resource:
        """Write it there."""
        self._files.make_directory(self._folder)
        self._files.put(f"{self._folder}/{name}", data)
        return self._resource(name, name, unpack=False)

    def put_file(self, name: str, source: Path, unpack: bool) -> Resource:
        """Copy it there, without holding large files in memory."""
        self._files.make_directory(self._folder)
        staged = _staged_name(name, source, unpack)
        with open(source, "rb") as file:
            self._files.put(f"{self._folder}/{staged}", file)
        return self._resource(name, staged, unpack)

    def remove(self) -> None:
        """Remove the directory with everything in it."""
        self._files.remove(self._folder)

    def _resource(self, name: str, staged: str, unpack: bool) -> Resource:
        path = f"{self._folder}/{staged}"
        facts = self._files.status(path)
        if facts is None:
            raise SchedulerError(f"{path} has vanished from HDFS right after it was written")
        return Resource(
            *(name, "hdfs", self._host, self._port, path),
            *(facts.length, facts.modified, unpack),
        )


class HdfsCommand(Staging):
    """A directory in HDFS, through the `hdfs` command."""

    def __init__(self, configuration: Configuration, folder: str) -> None:
        if shutil.which("hdfs") is None:
            raise OptionError("--yarn --staging hdfs needs the `hdfs` command on PATH")
        parts = urllib.parse.urlsplit(configuration.get("fs.defaultFS", ""))
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._scheme = parts.scheme
        self._is_secure = configuration.is_secure
        self._folder = folder  # `hdfs dfs` looks for any other than /… in the user's home
        self._homes = configuration.get(_HOMES, "/user")
        self._is_made = False

    def put(self, name: str, data: bytes) -> Resource:
        """Write it there."""
        self._make()
        self._run("-put", "-f", "-", f"{self._folder}/{name}", data=data)
        return self._resource(name, name, unpack=False)

    def put_file(self, name: str, source: Path, unpack: bool) -> Resource:
        """Copy it there."""
        self._make()
        staged = _staged_name(name, source, unpack)
        self._run("-put", "-f", str(source), f"{self._folder}/{staged}")
        return self._resource(name, staged, unpack)

    def remove(self) -> None:
        """Remove the directory with everything in it."""
        self._run("-rm", "-r", "-f", "-skipTrash", self._folder)

    def _make(self) -> None:
        if not self._is_made:
            self._run("-mkdir", "-p", self._folder)
            self._run("-chmod", "700", self._folder)
            self._is_made = True

    def _resource(self, name: str, staged: str, unpack: bool) -> Resource:
        path = f"{self._folder}/{staged}"
        # Some sites' programs print their log first.
        facts = self._run("-stat", "%u %b %Y", path).splitlines()[-1]
        owner, length, modified = facts.split()
        # The nodes need all of the path, but `hdfs dfs` calls the home `.`: what is in it belongs
        # to whom it is named after.
        place = path if path.startswith("/") else f"{self._homes}/{owner}/{path}"
        return Resource(
            *(name, self._scheme, self._host, self._port, place),
            *(int(length), int(modified), unpack),
        )

    def _run(self, *words: str, data: bytes | None = None) -> str:
        if self._is_secure:
            from rayhpc.hadoop import spnego

            spnego.check_ticket()  # `hdfs` would try for minutes
        try:
            done = subprocess.run(
                ["hdfs", "dfs", *words],
                input=data,
                capture_output=True,
                timeout=_COMMAND_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SchedulerError(f"hdfs dfs {words[0]} has not ended in {_COMMAND_S} s") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise SchedulerError(f"hdfs dfs {words[0]}: {said[-1] if said else done.returncode}")
        return done.stdout.decode(errors="replace")


def _staged_name(name: str, source: Path, unpack: bool) -> str:
    """What a file is called where it is staged: `name`, and with `unpack` the suffix that it needs.

    A wheel is a zip file.
    """
    if not unpack:
        return name
    return name + next((each for each in ARCHIVES if source.name.endswith(each)), ".zip")


def choose(told: str, configuration: Configuration) -> str:
    """`shared`, `webhdfs` or `hdfs`: as given, else what the default file system suggests."""
    if told != "auto":
        return told
    return "webhdfs" if is_on_hdfs(configuration) else "shared"


def is_on_hdfs(configuration: Configuration) -> bool:
    """Whether the default file system is HDFS."""
    return urllib.parse.urlsplit(configuration.get("fs.defaultFS", "file:///")).scheme == "hdfs"


def open_staging(
    kind: str, configuration: Configuration, web: Web, folder: Path, name: str
) -> Staging:
    """The staging area of one application.

    Args:
        kind: see `choose`.
        configuration: the cluster's.
        web: HTTP on behalf of the user.
        folder: the job's folder.
        name: of a directory in HDFS, in the user's home unless it begins with /.
    """
    if kind == "webhdfs":
        return Hdfs(configuration, web, name)
    if kind == "hdfs":
        return HdfsCommand(configuration, name)
    return SharedDirectory(folder / "staged")
