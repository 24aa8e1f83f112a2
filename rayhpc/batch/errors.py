"""Errors of the submit side, each with its exit code (see the CLI's reference).

Raised here, turned into one line on the terminal by the commands.
"""

from __future__ import annotations

from rayhpc.exit_codes import ExitCode, LaunchError


class OptionError(LaunchError):
    """An invalid option, profile, template or `#RAYHPC` line."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.CONFIGURATION)


class SchedulerError(LaunchError):
    """The batch system refused, failed, or did not answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.SCHEDULER)


class UnknownJobError(LaunchError):
    """A selector that matches no job of this user."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.CONFIGURATION)
