"""Finds the part of a value that cannot be pickled.

Used by `util.check_serialize`.
"""

from __future__ import annotations

from rayhpc.runtime.values.pickle_path import find as find_unpicklable

__all__ = ["find_unpicklable"]
