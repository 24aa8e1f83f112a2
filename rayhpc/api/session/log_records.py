"""Log records with the ids of what wrote them, as text or JSON.

Used by `rayhpc.logging_config`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from rayhpc.api.session.runtime_context import RuntimeContext
from rayhpc.runtime.process import current

_TEXT = "%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s"
_ALWAYS = ("asctime", "levelname", "message", "filename", "lineno")


def context() -> dict[str, str]:
    """Where the caller runs, and as what; only what there is."""
    if not current.is_connected():
        return {}
    here = RuntimeContext()
    found = {
        "job_id": here.get_job_id(),
        "worker_id": here.get_worker_id(),
        "node_id": here.get_node_id(),
        "actor_id": here.get_actor_id(),
        "actor_name": here.get_actor_name(),
        "task_id": here.get_task_id(),
        "task_name": here.get_task_name(),
        "task_func_name": here.get_task_function_name(),
    }
    return {name: value for name, value in found.items() if value}


class _Formatter(logging.Formatter):
    """Formats records with what `context` says, and further attributes.

    Args:
        attributes: the names of further attributes of a record.
    """

    def __init__(self, attributes: list[str]) -> None:
        super().__init__(_TEXT)
        self._attributes = [name for name in attributes if name not in _ALWAYS]

    def _further(self, record: logging.LogRecord) -> dict[str, Any]:
        given = {name: getattr(record, name) for name in self._attributes}
        return {**context(), **given, "timestamp_ns": time.time_ns()}


class TextFormatter(_Formatter):
    """A line like rayhpc's own, and name=value of the rest."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """The record's line; a traceback follows it."""
        rest = " ".join(f"{name}={value}" for name, value in self._further(record).items())
        return f"{super().formatMessage(record)} {rest}"


class JSONFormatter(_Formatter):
    """An object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        found = {name: getattr(record, name) for name in _ALWAYS}
        if record.exc_info:
            found["exc_text"] = self.formatException(record.exc_info)
        return json.dumps({**found, **self._further(record)}, default=str)


FORMATTERS: dict[str, Callable[[list[str]], logging.Formatter]] = {
    "TEXT": TextFormatter,
    "JSON": JSONFormatter,
}
