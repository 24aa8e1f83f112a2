"""The logs that YARN has collected from an application's nodes after its end.

One file per node, in the cluster's default file system; each contains the logs of the containers
that ran there.  Only the default format is supported (`tfile`).
"""

from __future__ import annotations

import urllib.parse

from rayhpc.hadoop.configuration import Configuration
from rayhpc.hadoop.ids import parse_application
from rayhpc.hadoop.tfile import Reader, TFileError, records

_ROOT = "yarn.nodemanager.remote-app-log-dir"
_SUFFIX = f"{_ROOT}-suffix"
_TFILE_ROOT = "yarn.log-aggregation.TFile.remote-app-log-dir"
_TFILE_SUFFIX = f"{_TFILE_ROOT}-suffix"
_BUCKETS = 10_000


def path_of(configuration: Configuration, user: str, application: str, node: str) -> str:
    """Where the logs of an application's containers on one node are, in the default file system.

    Args:
        configuration: the cluster's.
        user: the application's user.
        application: its id.
        node: the name of its NodeManager, `host:port`.
    """
    root = configuration.get(_TFILE_ROOT) or configuration.get(_ROOT, "/tmp/logs")
    suffix = configuration.get(_TFILE_SUFFIX) or f"{configuration.get(_SUFFIX, 'logs')}-tfile"
    bucket = parse_application(application).id % _BUCKETS
    folder = urllib.parse.urlsplit(root).path.rstrip("/")
    name = node.replace(":", "_")
    return f"{folder}/{user}/bucket-{suffix}/{bucket:04}/{application}/{name}"


def logs_of(data: bytes, container: str) -> dict[str, bytes]:
    """The logs of one container by name, from the file of its node.

    Raises:
        TFileError: it is not in the supported format.
    """
    found: dict[str, bytes] = {}
    for key, value in records(data):
        # Other keys are the file's version, and who may read it.
        if Reader(key).java_text() == container:
            found.update(_files(value))
    return found


def _files(value: bytes) -> dict[str, bytes]:
    found, reader = {}, Reader(value)
    while not reader.at_end:
        try:
            name, size = reader.java_text(), int(reader.java_text())
            found[name] = reader.take(size)
        except (IndexError, ValueError) as error:
            raise TFileError(f"damaged logs: {error}") from None
    return found
