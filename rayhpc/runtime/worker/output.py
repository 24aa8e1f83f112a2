"""A worker's stdout and stderr: whole lines, each known by the task or actor that printed it.

Used by `worker` when it starts.  The raylet reads the pipes (`raylet.logs`); a line of its own,
which nobody is shown, tells it whose the next ones are.
"""

from __future__ import annotations

import io
import sys
from typing import Any

from rayhpc.runtime.process import current
from rayhpc.runtime.process.context import running
from rayhpc.wire.messages.leases import NAME_MARK


class NamedOutput(io.TextIOWrapper):
    """A text stream that says who prints, whenever that changes at the start of a line."""

    _name: str | None = None
    _at_start = True

    def write(self, text: str) -> int:
        """Write text, after the name of the task or actor that runs if it is another one."""
        if text:
            name = _shown_name()
            if self._at_start and name is not None and name != self._name:
                self._name = name
                super().write(f"{NAME_MARK}{name}\n")
            self._at_start = text[-1] == "\n"
        return super().write(text)


def name_lines() -> None:
    """Have this process's streams say who prints, line by line."""
    sys.stdout = _named(sys.stdout)
    sys.stderr = _named(sys.stderr)


def _named(stream: Any) -> NamedOutput:
    stream.flush()
    # Line by line: what was printed must not be lost with the process.
    return NamedOutput(
        open(stream.fileno(), "wb", closefd=False),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def _shown_name() -> str | None:
    """The function's or class's name, or how the actor shows itself; None: no user code runs."""
    context = running.get()
    if context is None:
        return None
    if not context.actor:
        return context.name.rpartition("<locals>.")[2]
    host = getattr(current.process(), "actor", None)
    title = host.title if host is not None else ""
    return title or context.name.rpartition(".")[0] or context.name
