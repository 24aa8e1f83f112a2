"""Files in HDFS over HTTP (WebHDFS): write, query, remove.

Used to stage an application's files.  Needs neither Java nor an HDFS client.
"""

from __future__ import annotations

import socket
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from rayhpc.hadoop.configuration import Configuration
from rayhpc.hadoop.errors import ConfigurationError, HadoopError, WebError
from rayhpc.hadoop.resource_managers import parse_address
from rayhpc.hadoop.tokens import HDFS_KIND, Token

if TYPE_CHECKING:
    from rayhpc.hadoop.web import Web

_PORT, _TLS_PORT, _RPC_PORT = 9870, 9871, 8020


@dataclass(frozen=True)
class FileStatus:
    """A file; `length` in bytes, `modified` in milliseconds since 1970."""

    length: int
    modified: int
    is_directory: bool


class WebHdfs:
    """The file system of a name service.

    Every method raises WebError for the server's exceptions, KerberosError without a ticket, and
    OSError if no NameNode can be reached.

    Args:
        urls: those of the NameNodes' web servers, `http://host:port`.
        web: HTTP on behalf of the user.
        service: the service name of tokens for it; empty if there are none.
    """

    def __init__(self, urls: Sequence[str], web: Web, service: str = "") -> None:
        self._urls, self._web, self._service = list(urls), web, service

    def delegation_token(self, renewer: str) -> Token:
        """A token with which processes without a ticket can read and write here by RPC.

        Args:
            renewer: the principal that may renew it: the ResourceManager's.
        """
        query = urllib.parse.urlencode({"renewer": renewer})
        answer = self._ask("GET", "/", "GETDELEGATIONTOKEN", query)
        token = Token.from_text(answer["Token"]["urlString"])
        # The web server returns it under a kind that only WebHDFS accepts.
        return Token(token.identifier, token.password, HDFS_KIND, self._service)

    def put(self, path: str, data: bytes | IO[bytes], permission: str = "600") -> None:
        """Write a file, its directories included."""
        # Two steps: the NameNode names a DataNode, which takes the bytes.
        query = f"overwrite=true&noredirect=true&permission={permission}"
        where = self._ask("PUT", path, "CREATE", query)
        self._web.send("PUT", where["Location"], data)

    def make_directory(self, path: str, permission: str = "700") -> None:
        """Create a directory, with its parents."""
        self._ask("PUT", path, "MKDIRS", f"permission={permission}")

    def status(self, path: str) -> FileStatus | None:
        """A file's facts; None if there is none."""
        try:
            found = self._ask("GET", path, "GETFILESTATUS")["FileStatus"]
        except WebError as error:
            if error.status == 404:
                return None
            raise
        kind = found["type"] == "DIRECTORY"
        return FileStatus(found["length"], found["modificationTime"], kind)

    def read(self, path: str, offset: int = 0) -> bytes:
        """The contents of a file from `offset` on."""
        url = self._url(self._urls[0], path, "OPEN", f"offset={offset}")
        return self._web.send("GET", url)

    def remove(self, path: str) -> None:
        """Remove a file or directory with everything in it; a no-op if it does not exist."""
        self._ask("DELETE", path, "DELETE", "recursive=true")

    def home(self) -> str:
        """The user's directory."""
        return str(self._ask("GET", "/", "GETHOMEDIRECTORY")["Path"])

    def _ask(self, method: str, path: str, operation: str, query: str = "") -> Any:
        """Ask the NameNodes in turn: a standby refuses with 403."""
        problem: Exception | None = None
        for _ in range(len(self._urls)):
            try:
                url = self._url(self._urls[0], path, operation, query)
                return self._web.json(method, url)
            except WebError as error:
                if "StandbyException" not in str(error):
                    raise
                problem = error
            except ConnectionError as error:
                if isinstance(error, HadoopError):
                    raise
                problem = error
            self._urls.append(self._urls.pop(0))
        assert problem is not None
        raise problem

    @staticmethod
    def _url(base: str, path: str, operation: str, query: str) -> str:
        quoted = urllib.parse.quote(path)
        return f"{base}/webhdfs/v1{quoted}?op={operation}{f'&{query}' if query else ''}"


def open_webhdfs(configuration: Configuration, web: Web) -> WebHdfs:
    """WebHDFS of the default file system.

    Raises:
        ConfigurationError: it is not HDFS, or the files do not say where its NameNodes are.
    """
    service = _name_service(configuration)
    policy = configuration.get("dfs.http.policy", "HTTP_ONLY")
    scheme, kind, port = ("http", "http", _PORT)
    if policy == "HTTPS_ONLY":
        scheme, kind, port = ("https", "https", _TLS_PORT)
    urls = []
    for suffix in _suffixes(configuration, service):
        name = f"dfs.namenode.{kind}-address{suffix}"
        text = configuration.get(name, "" if suffix else f"{service}:{port}")
        found = parse_address(text, port)
        if found is None:
            raise ConfigurationError(
                f"{name} says {text!r} in {configuration.folder}: set it in hdfs-site.xml to where "
                "the NameNode's web server is"
            )
        host = service if found[0] == "0.0.0.0" and not suffix else found[0]
        urls.append(f"{scheme}://{host}:{found[1]}")
    return WebHdfs(urls, web, _token_service(configuration, service))


def _name_service(configuration: Configuration) -> str:
    text = configuration.get("fs.defaultFS", "file:///")
    parts = urllib.parse.urlsplit(text)
    if parts.scheme != "hdfs" or not parts.hostname:
        raise ConfigurationError(f"fs.defaultFS={text!r} in {configuration.folder} is no HDFS")
    return parts.hostname


def _token_service(configuration: Configuration, service: str) -> str:
    """The name under which Hadoop's own clients look up tokens: that of a service with several
    NameNodes, else the address of the only one.
    """
    if not configuration.is_secure:
        return ""
    if _suffixes(configuration, service) != [""]:
        return f"ha-hdfs:{service}"
    port = urllib.parse.urlsplit(configuration["fs.defaultFS"]).port or _RPC_PORT
    return f"{socket.gethostbyname(service)}:{port}"


def _suffixes(configuration: Configuration, service: str) -> list[str]:
    listed = configuration.get(f"dfs.ha.namenodes.{service}", "")
    ids = [name.strip() for name in listed.split(",") if name.strip()]
    return [f".{service}.{name}" for name in ids] or [""]
