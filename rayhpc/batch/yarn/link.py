"""A rank's end of the key's way on YARN.

Rank 0 is the ApplicationMaster's child and has a socket to it.  Every other container is started
when the key is known, and finds it among the secrets of its token file, which YARN gives to that
container alone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from rayhpc.batch.yarn.application import LINK_FD, RECORD_SECRET
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.hadoop.tokens import Credentials

TOKEN_FILE = "HADOOP_TOKEN_FILE_LOCATION"


class YarnLink:
    """With the methods of `system.SecretLink`.

    Args:
        master: rank 0's socket to the ApplicationMaster.
        secret: what all other ranks were started with.
    """

    def __init__(self, master: socket.socket | None, secret: bytes) -> None:
        self._master, self._secret = master, secret

    def give(self, secret: bytes) -> None:
        """Rank 0: hand it to the ApplicationMaster.  Raises LaunchError if that is gone."""
        assert self._master is not None
        try:
            self._master.send(secret)
        except OSError:
            raise LaunchError(
                "the ApplicationMaster is gone; YARN's page of this application says why",
                ExitCode.RENDEZVOUS,
            ) from None

    def take(self) -> bytes:
        """The others: what this container was started with."""
        return self._secret


def open_link(environ: Mapping[str, str]) -> YarnLink | None:
    """The link of this rank; None where no ApplicationMaster of ours has started it."""
    if environ.get(LINK_FD, "").isdigit():
        descriptor = int(environ[LINK_FD])
        try:
            os.set_inheritable(descriptor, False)
            return YarnLink(socket.socket(fileno=descriptor), b"")
        except OSError:
            return None  # a program inside rank 0 that starts another cluster
    try:
        secret = Credentials.load(environ.get(TOKEN_FILE, "")).secrets.get(RECORD_SECRET)
    except (OSError, ValueError):
        return None
    return None if secret is None else YarnLink(None, secret)
