"""Logging something once, or once per period.

Used by programs and libraries.  Per process.
"""

from __future__ import annotations

import time

_said: set[str] = set()
_disabled = False
_again_after_s: float | None = None
_first_said = 0.0


def log_once(key: str) -> bool:
    """Whether this is the first call with `key` in this process.

    With `enable_periodic_logging`, the first one in each period.
    """
    global _first_said
    if _disabled:
        return False
    if key not in _said:
        _said.add(key)
        _first_said = _first_said or time.monotonic()
        return True
    if _again_after_s is not None and time.monotonic() - _first_said > _again_after_s:
        _said.clear()
        _first_said = 0.0
        return log_once(key)
    return False


def disable_log_once_globally() -> None:
    """Make `log_once` return False from now on."""
    global _disabled
    _disabled = True


def enable_periodic_logging(period_s: float = 60.0) -> None:
    """Make `log_once` return True again every `period_s` seconds."""
    global _disabled, _again_after_s
    _disabled = False
    _again_after_s = period_s


def reset_log_once(key: str) -> None:
    """Forget that `key` was logged."""
    _said.discard(key)
