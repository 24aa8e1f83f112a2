"""The options in `--yarn WORDS`, which no other batch system has.

Used by `jobs`.  The same words may be used in `#RAYHPC` lines and profiles.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from rayhpc.batch.errors import OptionError

# The largest number that YARN's messages hold.
_HIGHEST = 2**31 - 1
STAGINGS = ("auto", "shared", "webhdfs", "hdfs")


@dataclass(frozen=True)
class YarnOptions:
    """`--yarn`'s options; `python` runs rayhpc on the nodes (empty: decided by what is there)."""

    priority: int | None = None
    tags: tuple[str, ...] = ()
    view_acl: str = ""
    modify_acl: str = ""
    archive: str = ""
    python: str = ""
    wheel: str = ""
    py_files: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    staging: str = "auto"
    staging_dir: str = ""
    restarts: int = 3
    gather: float = 60.0
    unmanaged: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionError(f"--yarn: {message}; it takes {', '.join(_names(self))}")


def parse(words: Sequence[str]) -> YarnOptions:
    """The options among `words`.  Raises OptionError naming an invalid one."""
    parser = _Parser(prog="--yarn", add_help=False, allow_abbrev=False)
    parser.add_argument("--priority", type=int)
    parser.add_argument("--tag", dest="tags", action="append", default=[])
    parser.add_argument("--view-acl", default="")
    parser.add_argument("--modify-acl", default="")
    parser.add_argument("--archive", default="")
    parser.add_argument("--python", default="")
    parser.add_argument("--wheel", default="")
    parser.add_argument("--py-files", default="", type=_listed)
    parser.add_argument("--files", default="", type=_listed)
    parser.add_argument("--staging", choices=STAGINGS, default="auto")
    parser.add_argument("--staging-dir", default="")
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--gather", type=float, default=60.0)
    parser.add_argument("--unmanaged", action="store_true")
    found = vars(parser.parse_args(list(words)))
    options = YarnOptions(**{**found, "tags": tuple(found["tags"])})
    if options.restarts < 0 or not 0 < options.gather < math.inf:
        raise OptionError("--yarn: --restarts takes a number from 0 on, --gather seconds above 0")
    if not 0 <= (options.priority or 0) <= _HIGHEST:
        raise OptionError(f"--yarn: --priority takes a number from 0 to {_HIGHEST}")
    odd = [tag for tag in options.tags if not (tag.isascii() and tag.isprintable())]
    if odd:
        raise OptionError(f"--yarn: --tag {odd[0]}: YARN takes plain ASCII only")
    return options


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _names(parser: argparse.ArgumentParser) -> list[str]:
    return [action.option_strings[0] for action in parser._actions if action.option_strings]
