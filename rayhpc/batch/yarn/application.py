"""What an application runs, as the client tells its containers: the file `application.json`.

Written by the client, read by the ApplicationMaster and by every container.  Contains no secret
except what the user put into `--env`.  Beside it only the ApplicationMaster has `resources.json`:
the files that every container gets, `application.json` among them.
"""

from __future__ import annotations

import base64

import msgspec

FILE = "application.json"
RESOURCES = "resources.json"
# How the exit code is written in an application's diagnostics, where the client finds it.
EXIT_CODE = "rayhpc exit code "
LINK_FD = "RAYHPC_MASTER_FD"
# A node's labels: NAME=VALUE,… (YARN's scripts would change quotes).
LABELS = "RAYHPC_LABELS"
# An added rank's options of `rayhpc run`, encoded for the same reason.
OPTIONS = "RAYHPC_RUN_OPTIONS"
RECORD_SECRET = "rayhpc.record"
# A container that another attempt has taken over keeps the secrets of its first start, so the new
# record is sealed (`sealing`) with a secret that all attempts share.
SEALED_RECORD = "RAYHPC_SEALED_RECORD"
SHARED_SECRET = "rayhpc.shared"


class Resource(msgspec.Struct, frozen=True):
    """A file that YARN puts into each container's folder under `name`.

    `size` in bytes and `timestamp` in milliseconds must be exactly the file system's.
    """

    name: str
    scheme: str
    host: str
    port: int
    path: str
    size: int
    timestamp: int
    archive: bool = False


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """One application.

    `python` runs rayhpc on the nodes; `directory` is where the program runs, if the node has it, or
    else in the container's own; `options` go to `rayhpc run`; memory is in MiB.  `needed` of
    `nodes` are enough to start.  `managers` is where the ResourceManagers serve
    ApplicationMasters, for nodes without configuration files.  A container whose head was lost
    waits `hold_s` seconds for another attempt of the ApplicationMaster to take it over.
    `counts_shared`: see `memory_rule`.  YARN kills the application `lifetime_s` seconds after its
    submission, unless they are 0.  Without a ResourceManager the application goes on for
    `patience_s` seconds, and then ends with its program.
    """

    name: str
    command: list[str]
    nodes: int
    needed: int
    python: str
    memory_mib: int
    vcores: int = 1
    gpus: int = 0
    priority: int = 0
    node_label: str = ""
    directory: str = ""
    options: list[str] = []
    environment: dict[str, str] = {}
    managers: list[tuple[str, int]] = []
    restarts: int = 3
    gather_s: float = 60.0
    start_timeout_s: float = 600.0
    hold_s: float = 0.0
    counts_shared: bool = True
    lifetime_s: int = 0
    patience_s: float = 600.0

    def encode(self) -> bytes:
        """The contents of the file."""
        return msgspec.json.format(msgspec.json.encode(self))


def decode(data: bytes) -> Application:
    """What `encode` wrote.  Raises ValueError for anything else."""
    try:
        return msgspec.json.decode(data, type=Application)
    except msgspec.DecodeError as error:
        raise ValueError(f"{FILE} is not what this version of rayhpc writes: {error}") from None


def encode_options(options: list[str]) -> str:
    """For the variable OPTIONS."""
    return base64.urlsafe_b64encode(msgspec.json.encode(options)).decode()


def decode_options(text: str) -> list[str]:
    """What `encode_options` wrote."""
    return msgspec.json.decode(base64.urlsafe_b64decode(text), type=list[str])


def encode_resources(resources: list[Resource]) -> bytes:
    """The contents of `resources.json`."""
    return msgspec.json.format(msgspec.json.encode(resources))


def decode_resources(data: bytes) -> list[Resource]:
    """What `encode_resources` wrote."""
    return msgspec.json.decode(data, type=list[Resource])
