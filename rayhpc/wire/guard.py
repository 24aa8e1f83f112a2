"""Runs what a message or event asks for, so that an error in it ends nothing else.

Used by the loops of the raylet and the head, which live for as long as their node or cluster: an
exception in a handler is a fault of ours.  It is logged, counted and shown by `rayhpc status`.
Never used in the state machines themselves: a simulation is to see every error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

_SHOWN = 500


class Guard:
    """The errors of one process.

    Args:
        logger: gets each error with its traceback, and with what caused it.

    Attributes:
        count: how many there have been.
        last: the last one, in words.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self.count = 0
        self.last = ""

    def run(self, what: object, action: Callable[..., Any], *args: Any) -> Exception | None:
        """Call `action(*args)`; the exception that it raised, which has been noted.

        Args:
            what: a message, or words, that say in the log what it was for.
            action: what to do.
            *args: handed to it.
        """
        try:
            action(*args)
        except Exception as error:
            self.count += 1
            shown = _shown(what)
            self.last = f"{type(error).__name__}: {error} ({shown[:_SHOWN // 5]})"
            self._logger.exception("an error in handling %s", shown)
            return error
        return None


def _shown(what: object) -> str:
    try:
        text = what if isinstance(what, str) else repr(what)
    except Exception as error:  # it must not come up again where it was to be caught
        text = f"a {type(what).__name__} that cannot be shown: {type(error).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"
