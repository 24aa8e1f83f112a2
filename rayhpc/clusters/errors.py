"""What goes wrong with a cluster's file and on its hosts, with the exit code of each."""

from __future__ import annotations

from rayhpc.exit_codes import ExitCode, LaunchError


class ClusterFileError(LaunchError):
    """A cluster's YAML is wrong.

    Args:
        source: the file, as the user named it.
        faults: line (from 1; 0: the file as a whole) and sentence of each.
    """

    def __init__(self, source: str, faults: list[tuple[int, str]]) -> None:
        lines = [
            f"{source}, line {line}: {text}" if line else f"{source}: {text}"
            for line, text in sorted(faults)
        ]
        super().__init__("\n".join(lines), ExitCode.CONFIGURATION)
        self.faults = faults


class NotServedError(LaunchError):
    """A provider that is not built yet."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.CONFIGURATION)


class ClusterBusyError(LaunchError):
    """Another command changes the same cluster at this moment."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.REFUSED)


class UnknownClusterError(LaunchError):
    """There is no cluster of that name, and no such file."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.CONFIGURATION)
