"""`#RAYHPC` lines: options of `rayhpc submit` written in the program or script itself.

    #!/usr/bin/env python3
    #RAYHPC --nodes 4 --time 1:00:00
    #RAYHPC --gpus-per-node 2

Read by `rayhpc submit` from the leading comments of the file that the command runs.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from rayhpc.batch.errors import OptionError

MARK = "#RAYHPC"
# The comments before the first statement are short; a long file is not read to its end.
_BYTES = 64 << 10


def read_directives(path: Path) -> list[str]:
    """All words of the `#RAYHPC` lines before the first line that is neither blank nor a comment.

    Raises OptionError naming file and line if a line has unbalanced quotes.
    """
    with open(path, "rb") as file:
        head = file.read(_BYTES).decode("utf-8", "replace")
    words: list[str] = []
    for number, line in enumerate(head.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            break
        if not stripped.startswith(MARK):
            continue
        try:
            words += shlex.split(stripped[len(MARK) :], comments=True)
        except ValueError as error:
            raise OptionError(f"{path}:{number}: {error}") from error
    return words
