"""Numbers on the command line: whole ones, bytes, seconds; what is none is named, never raw.

Used by the commands' options.  Bounds that depend on what a number is for are checked where that is
known (`launch.options`, `batch.values`).
"""

from __future__ import annotations

import math
import re
from typing import Any

import click

LONGEST_S = 366 * 86400.0
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_WHOLE = re.compile(r"([+-]?\d{1,19})(?:\.0*)?", re.ASCII)
_SIZE = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_SHOWN_CHARACTERS = 60


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes: `4000000000`, `4G`, `512MiB`."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes as a whole number."""
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            self.fail(
                f"{shortened(value)} is not a size in bytes like 4000000000, 4G or 512M", param, ctx
            )
        return int(float(match[1]) * _UNITS[match[2].upper()])


class Whole(click.ParamType):  # type: ignore[type-arg]
    """A whole number, also as scripts compute it: `2`, `2.0`."""

    name = "INTEGER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if isinstance(value, int):
            return value
        match = _WHOLE.fullmatch(value.strip())
        if match is None:
            self.fail(f"{shortened(value)} is not a whole number like 4", param, ctx)
        return int(match[1])


class Seconds(click.ParamType):  # type: ignore[type-arg]
    """A time in seconds, a year of them at most.

    Args:
        zero: whether 0 is one.
    """

    name = "SECONDS"

    def __init__(self, zero: bool) -> None:
        self._zero = zero

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number of seconds."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 <= number <= LONGEST_S or (number == 0 and not self._zero):
            start = "from 0 on" if self._zero else "above 0"
            self.fail(
                f"{shortened(str(value))} is not a number of seconds {start}, a year at most",
                param,
                ctx,
            )
        return number


def shortened(text: str) -> str:
    """What the user wrote, quoted, and cut where it would fill the screen."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")
