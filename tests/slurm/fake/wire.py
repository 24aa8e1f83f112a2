"""How the fake programs talk to the fake controller: one JSON line there, one back."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

FOLDER = "FAKE_SLURM"


class NoAnswerError(Exception):
    """The controller is not there."""


def folder() -> Path:
    """Where this cluster lives."""
    return Path(os.environ[FOLDER])


def ask(verb: str, **fields: Any) -> dict[str, Any]:
    """One request.  Raises NoAnswerError if nobody listens."""
    request = json.dumps({"verb": verb, **fields}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(folder() / "ctl"))
            connection.sendall(request)
            with connection.makefile("rb") as file:
                line = file.readline()
        except OSError as error:
            raise NoAnswerError from error
    if not line:
        raise NoAnswerError
    answer: dict[str, Any] = json.loads(line)
    return answer
