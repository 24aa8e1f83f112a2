"""The commands of a page of docs, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path


def commands_of(page: Path) -> list[str]:
    """The lines of its `sh` blocks, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]
