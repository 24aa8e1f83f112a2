"""Fetches a job's output from the nodes into its folder, where all commands look for it.

Used by `watching` while a job is followed, and before its output is shown.  While the container
runs, and after its end until YARN has collected its logs, its NodeManager serves them; then they
are in the cluster's file system.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from rayhpc.batch.folder import JobFolder
from rayhpc.batch.yarn.session import Session
from rayhpc.hadoop.aggregated_logs import logs_of, path_of
from rayhpc.hadoop.errors import HadoopError, WebError
from rayhpc.hadoop.tfile import TFileError
from rayhpc.machine import whole_file

_STREAMS = ("stdout", "stderr")
_BEGUN = "output.json"
_HEAD = "\nLogContents:\n"
_LENGTH = "\nLogLength:"
# A log grows between two requests; this many bytes before the wanted ones are requested, too.
_SLACK = 1 << 16


@dataclass(frozen=True)
class Place:
    """Where rank 0's container of one attempt is, and its name."""

    attempt: int
    container: str
    node: str
    web: str


class _Begun(msgspec.Struct):
    """Whose output is at the end of the files, and where it begins in them."""

    container: str
    at: dict[str, int]
    attempt: int = 0


class Mirror:
    """The output of a job's first container; a second attempt's follows the first one's.

    Several commands may fetch one job's output at a time, and one of them may not have heard yet of
    its second attempt: what they add is there once, in the order of the attempts.
    """

    def __init__(self, folder: JobFolder, session: Session, application: str) -> None:
        self._folder, self._session, self._application = folder, session, application
        self._place: Place | None = None

    def fetch(self) -> bool:
        """Add what is new; False: the node that has it does not serve it."""
        place = self.place()
        if place is None:
            return True  # nothing is running yet
        try:
            with self._alone():
                for stream, begin in self._begins(place).items():
                    self._fetch(place, stream, begin)
        except (HadoopError, OSError):
            return False
        return True

    def fetch_collected(self, user: str) -> bool:
        """Add what is new from the logs that YARN has collected; False: they cannot be read.

        Args:
            user: the job's user.
        """
        place = self.place()
        if place is None:
            return False
        try:
            configuration = self._session.configuration
            path = path_of(configuration, user, self._application, place.node)
            found = logs_of(self._session.read(path), place.container)
            with self._alone():
                for stream, begin in self._begins(place).items():
                    have = self._size(stream) - begin
                    self._add(stream, found.get(stream, b"")[have:])
            self._keep(found.get(JobFolder.RECORDING, b""))
        except (HadoopError, OSError, TFileError):
            return False
        return True

    def fetch_recording(self) -> None:
        """Fetch what rank 0 recorded, if it is not here and its node serves it."""
        place = self.place()
        if place is None or JobFolder.RECORDING in self._folder.names():
            return
        base = f"{self._session.scheme}://{place.web}/ws/v1/node/containerlogs/{place.container}"
        with contextlib.suppress(HadoopError, OSError):
            page = self._page(f"{base}/{JobFolder.RECORDING}")
            self._keep(_since(0, page, _length(page)))

    def place(self, again: bool = False) -> Place | None:
        """Where the container is; None before there is one."""
        if self._place is None or again:
            self._place = latest_attempt(self._session, self._application)
        return self._place

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with open(self._folder.path / _BEGUN, "a") as note:
            fcntl.flock(note, fcntl.LOCK_EX)
            yield

    def _begins(self, place: Place) -> dict[str, int]:
        """Where a container's output begins in each file; nowhere if a later attempt's is there."""
        note = self._folder.path / _BEGUN
        try:
            begun = msgspec.json.decode(note.read_bytes(), type=_Begun)
        except msgspec.DecodeError:
            begun = _Begun("", {})  # the first look of all
        if begun.container == place.container:
            return begun.at
        if begun.attempt > place.attempt:
            return {}
        sizes = {stream: self._size(stream) for stream in _STREAMS}
        begun = _Begun(place.container, sizes, place.attempt)
        note.write_bytes(msgspec.json.encode(begun))
        return sizes

    def _size(self, stream: str) -> int:
        path = self._folder.output(stream)
        return path.stat().st_size if path.exists() else 0

    def _fetch(self, place: Place, stream: str, begin: int) -> None:
        have = self._size(stream) - begin
        base = f"{self._session.scheme}://{place.web}/ws/v1/node/containerlogs/{place.container}"
        # Only the end of a log can be requested, so first find out its length.
        length = _length(self._page(f"{base}/{stream}?size=-1"))
        if length > have:
            size = length - have + _SLACK
            data = _since(have, self._page(f"{base}/{stream}?size=-{size}"), size)
            self._add(stream, data)

    def _add(self, stream: str, data: bytes) -> None:
        if data:
            with open(self._folder.output(stream), "ab") as file:
                file.write(data)

    def _keep(self, recording: bytes) -> None:
        if recording:
            whole_file.write(self._folder.recording, recording)

    def _page(self, url: str) -> bytes:
        try:
            return self._session.web.send("GET", url)
        except WebError as error:
            if error.status == 404:
                return b""  # the file does not exist yet
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
    """The length of a log, according to its page."""
    _, found, rest = page.partition(_LENGTH.encode())
    return int(rest.partition(b"\n")[0]) if found else 0


def _since(offset: int, page: bytes, size: int) -> bytes:
    """The part from `offset` on of a page that shows the last `size` bytes of a log.

    Empty if the log has grown so much in the meantime that part of it is missing.
    """
    length = _length(page)
    begin = max(0, length - size)
    _, found, rest = page.partition(_HEAD.encode())
    shown = rest[: length - begin] if found else b""
    return shown[offset - begin :] if begin <= offset else b""
