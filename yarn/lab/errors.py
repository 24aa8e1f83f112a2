"""What the lab's user has to know; printed without a traceback."""

from __future__ import annotations


class LabError(Exception):
    """Something is missing, or a daemon did not come up; the text says what and where to look."""
