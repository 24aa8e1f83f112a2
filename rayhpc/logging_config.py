"""`LoggingConfig`: how a program's log records look, in the driver and in all of its workers.

Used by programs, for `init(logging_config=…)`, under the name that Ray gives it; `api.session` puts
it into force in the driver and has every worker of the job call `apply`.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, dataclass, field

from rayhpc.api.session import log_records


@dataclass
class LoggingConfig:
    """What the root logger writes to stderr; workers' lines come to the driver as they are.

    Args:
        encoding: "TEXT", or "JSON": an object per line.
        log_level: of the root logger.
        additional_log_standard_attrs: attributes of `logging.LogRecord` to add, such as "name".

    Raises:
        ValueError: another encoding or level, or no such attribute.
    """

    encoding: str = "TEXT"
    log_level: str = "INFO"
    additional_log_standard_attrs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.encoding not in log_records.FORMATTERS:
            known = ", ".join(log_records.FORMATTERS)
            raise ValueError(f"encoding is {self.encoding!r}; it must be one of {known}.")
        if not isinstance(logging.getLevelName(self.log_level), int):
            raise ValueError(f"log_level is {self.log_level!r}, which is no level of `logging`.")
        attributes = vars(logging.makeLogRecord({}))
        for name in self.additional_log_standard_attrs:
            if name not in attributes:
                raise ValueError(f"{name!r} is no attribute of a logging.LogRecord.")

    def to_json(self) -> str:
        """The configuration as `apply` takes it."""
        return json.dumps(asdict(self))

    def apply(self) -> None:
        """Have the root logger of this process write like this, and nothing else besides."""
        handler = logging.StreamHandler(sys.stderr)
        make = log_records.FORMATTERS[self.encoding]
        handler.setFormatter(make(self.additional_log_standard_attrs))
        root = logging.getLogger()
        root.handlers[:] = [handler]
        root.setLevel(self.log_level)


def apply(config: str) -> None:
    """Put a job's configuration into force, in a worker."""
    LoggingConfig(**json.loads(config)).apply()
