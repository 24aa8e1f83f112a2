"""A rank's end of the channel for the key on YARN.

Rank 0 is the ApplicationMaster's child and has a socket to it.  Every other container is started
once the key is known, and finds it among the secrets of its token file, which YARN gives only to
that container.  A container taken over by the second attempt cannot be given other secrets: it gets
the new key sealed with one that it has.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Mapping

import msgspec

from rayhpc.batch.yarn import sealing, talk
from rayhpc.batch.yarn.application import (
    LINK_FD,
    RECORD_SECRET,
    SEALED_RECORD,
    SHARED_SECRET,
)
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.hadoop.tokens import Credentials

TOKEN_FILE = "HADOOP_TOKEN_FILE_LOCATION"
_MOST_BYTES = 1 << 16


class YarnLink:
    """Implements `system.SecretLink`.

    Args:
        master: rank 0's socket to the ApplicationMaster.
        secret: the secret that all other ranks were started with.
    """

    def __init__(self, master: socket.socket | None, secret: bytes) -> None:
        self._master, self._secret = master, secret

    def give(self, secret: bytes) -> None:
        """Rank 0: pass it to the ApplicationMaster.  Raises LaunchError if that is gone."""
        assert self._master is not None
        failed = bool(msgspec.json.decode(secret).get("error"))
        try:
            self._master.send(talk.encode(talk.Ready(secret, failed)))
        except OSError:
            raise LaunchError(
                "the ApplicationMaster is gone; YARN's page of this application says why",
                ExitCode.RENDEZVOUS,
            ) from None

    def take(self) -> bytes:
        """Other ranks: what this container was started with."""
        return self._secret

    def resizer(self) -> YarnResizer | None:
        """The ApplicationMaster, on rank 0."""
        return None if self._master is None else YarnResizer(self._master)


class YarnResizer:
    """Implements `system.Resizer`.  If the ApplicationMaster is gone, so are we."""

    def __init__(self, master: socket.socket) -> None:
        self._master = master

    def want(self, nodes: int) -> None:
        """Tell the ApplicationMaster."""
        self._tell(talk.Want(nodes))

    def leaving(self, timeout_s: float) -> int | None:
        """Wait for a message from the ApplicationMaster."""
        if not select.select([self._master], [], [], timeout_s)[0]:
            return None
        packet = self._master.recv(_MOST_BYTES)
        if not packet:
            raise EOFError("the ApplicationMaster is gone")
        return talk.from_master(packet).rank

    def left(self, rank: int) -> None:
        """Tell the ApplicationMaster."""
        self._tell(talk.Drained(rank))

    def _tell(self, message: talk.Want | talk.Drained) -> None:
        try:
            self._master.send(talk.encode(message))
        except OSError:
            raise EOFError("the ApplicationMaster is gone") from None


def open_link(environ: Mapping[str, str]) -> YarnLink | None:
    """The link of this rank; None if no ApplicationMaster of ours has started it."""
    if environ.get(LINK_FD, "").isdigit():
        descriptor = int(environ[LINK_FD])
        try:
            os.set_inheritable(descriptor, False)
            return YarnLink(socket.socket(fileno=descriptor), b"")
        except OSError:
            return None  # a program inside rank 0 starting another cluster
    try:
        secrets = Credentials.load(environ.get(TOKEN_FILE, "")).secrets
        sealed = environ.get(SEALED_RECORD)
        if sealed:
            return YarnLink(None, sealing.unseal(sealed, secrets.get(SHARED_SECRET, b"")))
        secret = secrets.get(RECORD_SECRET)
    except (OSError, ValueError):
        return None
    return None if secret is None else YarnLink(None, secret)
