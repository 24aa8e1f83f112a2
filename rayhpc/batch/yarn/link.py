"""A rank's end of the channel for the key on YARN.

Rank 0 is the ApplicationMaster's child and has a socket to it, which `resizer` uses, too.  Every
other container is started once the key is known, and finds it among the secrets of its token file,
which YARN gives only to that container.  A container taken over by the second attempt cannot be
given other secrets: it gets the new key sealed with one that it has.
"""

from __future__ import annotations

import os
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
from rayhpc.batch.yarn.resizer import YarnResizer
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.hadoop.tokens import Credentials

TOKEN_FILE = "HADOOP_TOKEN_FILE_LOCATION"


class YarnLink:
    """Implements `system.SecretLink`.

    Args:
        master: rank 0's socket to the ApplicationMaster.
        secret: the secret that all other ranks were started with.
    """

    def __init__(self, master: socket.socket | None, secret: bytes) -> None:
        self._master, self._secret = master, secret
        self._resizer = None if master is None else YarnResizer(master)

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
        return self._resizer


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
