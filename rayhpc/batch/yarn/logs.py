"""A job's output, brought from the nodes into its folder, where all commands look for it.

Used by `watching` while a job is followed, and before its output is shown.  While the container
runs, and after its end until YARN has collected its logs, its NodeManager shows them; then they are
in the cluster's file system.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from rayhpc.batch.folder import JobFolder
from rayhpc.batch.yarn.session import Session
from rayhpc.hadoop.aggregated_logs import logs_of, path_of
from rayhpc.hadoop.errors import HadoopError, WebError
from rayhpc.hadoop.tfile import TFileError

_STREAMS = ("stdout", "stderr")
_BEGUN = "output.json"
_HEAD = "\nLogContents:\n"
_LENGTH = "\nLogLength:"
# A log grows between two requests; so many bytes before the wanted ones are asked for, too.
_SLACK = 1 << 16


@dataclass(frozen=True)
class Place:
    """Where rank 0's container of one attempt is, and what it is called."""

    attempt: int
    container: str
    node: str
    web: str


class _Begun(msgspec.Struct):
    """Which container's output is at the end of the files, and where in them it begins."""

    container: str
    at: dict[str, int]


class Mirror:
    """The output of one job's first container; a second attempt's follows the first one's."""

    def __init__(self, folder: JobFolder, session: Session, application: str) -> None:
        self._folder, self._session, self._application = folder, session, application
        self._place: Place | None = None

    def fetch(self) -> bool:
        """Add what is new; False: the node that has it does not show it."""
        place = self.place()
        if place is None:
            return True  # nothing runs yet
        try:
            begun = self._begin(place)
            for stream in _STREAMS:
                self._fetch(place, stream, begun.at[stream])
        except (HadoopError, OSError):
            return False
        return True

    def fetch_collected(self, user: str) -> bool:
        """Add what is new from the logs that YARN has collected; False: they cannot be read.

        Args:
            user: whose job it is.
        """
        place = self.place()
        if place is None:
            return False
        try:
            begun = self._begin(place)
            configuration = self._session.configuration
            path = path_of(configuration, user, self._application, place.node)
            found = logs_of(self._session.read(path), place.container)
            for stream in _STREAMS:
                have = self._size(stream) - begun.at[stream]
                self._add(stream, found.get(stream, b"")[have:])
        except (HadoopError, OSError, TFileError):
            return False
        return True

    def place(self, again: bool = False) -> Place | None:
        """Where the container is; None before there is one."""
        if self._place is None or again:
            self._place = latest_attempt(self._session, self._application)
        return self._place

    def _begin(self, place: Place) -> _Begun:
        note = self._folder.path / _BEGUN
        try:
            begun = msgspec.json.decode(note.read_bytes(), type=_Begun)
            if begun.container == place.container:
                return begun
        except (OSError, msgspec.DecodeError):
            pass  # the first look of all
        begun = _Begun(place.container, {stream: self._size(stream) for stream in _STREAMS})
        note.write_bytes(msgspec.json.encode(begun))
        return begun

    def _size(self, stream: str) -> int:
        path = self._folder.output(stream)
        return path.stat().st_size if path.exists() else 0

    def _fetch(self, place: Place, stream: str, begin: int) -> None:
        have = self._size(stream) - begin
        base = f"{self._session.scheme}://{place.web}/ws/v1/node/containerlogs/{place.container}"
        # Nothing but the end of a log can be asked for, so first how long it is.
        length = _length(self._page(f"{base}/{stream}?size=-1"))
        if length > have:
            size = length - have + _SLACK
            data = _since(have, self._page(f"{base}/{stream}?size=-{size}"), size)
            self._add(stream, data)

    def _add(self, stream: str, data: bytes) -> None:
        if data:
            with open(self._folder.output(stream), "ab") as file:
                file.write(data)

    def _page(self, url: str) -> bytes:
        try:
            return self._session.web.send("GET", url)
        except WebError as error:
            if error.status == 404:
                return b""  # the file is not there yet
            raise


def latest_attempt(session: Session, application: str) -> Place | None:
    """The first container of an application's latest attempt.  Raises HadoopError or OSError."""
    answer = session.get(f"/ws/v1/cluster/apps/{application}/appattempts")
    listed = ((answer or {}).get("appAttempts") or {}).get("appAttempt") or []
    started = [each for each in listed if each.get("containerId") and each.get("nodeHttpAddress")]
    if not started:
        return None
    last = max(started, key=lambda each: int(each["id"]))
    return Place(
        int(last["id"]), last["containerId"], last.get("nodeId", ""), last["nodeHttpAddress"]
    )


def _length(page: bytes) -> int:
    """How long a log is, as its page says."""
    _, found, rest = page.partition(_LENGTH.encode())
    return int(rest.partition(b"\n")[0]) if found else 0


def _since(offset: int, page: bytes, size: int) -> bytes:
    """What a page that shows the last `size` bytes of a log has from `offset` on.

    Empty if the log has grown by so much meanwhile that some before it are missing.
    """
    length = _length(page)
    begin = max(0, length - size)
    _, found, rest = page.partition(_HEAD.encode())
    shown = rest[: length - begin] if found else b""
    return shown[offset - begin :] if begin <= offset else b""
