"""The language of a task, which programs written for Ray mention.

Used by users of Ray's API.  rayhpc supports only Python.
"""

from __future__ import annotations

import enum


class Language(enum.Enum):
    """The language of a task or actor: always PYTHON here."""

    PYTHON = 0
    CPP = 1
    JAVA = 2
