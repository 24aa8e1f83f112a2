"""Numbers on the command line: integers, bytes, seconds; errors quote what is not a number.

Used by the commands' options.  Bounds that depend on a number's purpose are checked where that is
known (`launch.options`, `batch.values`).
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

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
    """An integer, also in the form scripts compute it: `2`, `2.0`."""

    name = "INTEGER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if isinstance(value, int):
            return value
        match = _WHOLE.fullmatch(value.strip())
        if match is None:
            self.fail(f"{shortened(value)} is not a whole number like 4", param, ctx)
        return int(match[1])


class Span(NamedTuple):
    """A number of nodes, or from which to which it may change."""

    least: int
    most: int | None = None

    def __str__(self) -> str:
        return str(self.least) if self.most is None else f"{self.least}:{self.most}"


class Nodes(click.ParamType):  # type: ignore[type-arg]
    """A number of nodes, `8`, or the least and the most of them, `1:16`."""

    name = "INTEGER[:MAX]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Span:
        """Both; the most is None where there is one number."""
        if isinstance(value, (int, Span)):
            return Span(value) if isinstance(value, int) else value
        least, colon, most = value.partition(":")
        whole = Whole()
        if not colon:
            return Span(whole.convert(value, param, ctx))
        if not (_WHOLE.fullmatch(least.strip()) and _WHOLE.fullmatch(most.strip())):
            self.fail(f"{shortened(value)} is not a range of nodes like 1:16", param, ctx)
        return Span(whole.convert(least, param, ctx), whole.convert(most, param, ctx))


class Seconds(click.ParamType):  # type: ignore[type-arg]
    """A time in seconds, at most a year.

    Args:
        zero: whether 0 is allowed.
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
            start = "of at least 0" if self._zero else "above 0"
            self.fail(
                f"{shortened(str(value))} is not a number of seconds {start}, and at most a year",
                param,
                ctx,
            )
        return number


def shortened(text: str) -> str:
    """The user's input, quoted, and cut if it is very long."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")
