"""Runs the handler of a message or event, so that an error in it ends nothing else.

Used by the loops of the raylet and the head, which live as long as their node or cluster: an
exception in a handler is a bug in rayhpc.  It is logged, counted and shown by `rayhpc status`.
Never used inside the state machines: a simulation must see every error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

_SHOWN = 500


class Guard:
    """The errors of one process.

    Args:
        logger: receives each error with its traceback, and with what caused it.

    Attributes:
        count: the number of errors.
        last: the last one, in words.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self.count = 0
        self.last = ""

    def run(self, what: object, action: Callable[..., Any], *args: Any) -> Exception | None:
        """Call `action(*args)`; returns the exception it raised, which has been recorded, or None.

        Args:
            what: a message, or words, that say in the log what was being handled.
            action: the handler.
            *args: passed to it.
        """
        try:
            action(*args)
        except Exception as error:
            self.count += 1
            shown = _shown(what)
            self.last = f"{type(error).__name__}: {error} ({shown[: _SHOWN // 5]})"
            self._logger.exception("an error while handling %s", shown)
            return error
        return None


def _shown(what: object) -> str:
    try:
        text = what if isinstance(what, str) else repr(what)
    except Exception as error:  # the error must not be raised again inside its handler
        text = f"a {type(what).__name__} that cannot be shown: {type(error).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"
