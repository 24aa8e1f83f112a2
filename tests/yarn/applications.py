"""Applications submitted as the client does, for tests of the ApplicationMaster.

Works on the fake YARN and on the real one alike.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rayhpc.batch.yarn.application import (
    FILE,
    RESOURCES,
    Application,
    Resource,
    encode_resources,
)
from rayhpc.batch.yarn.session import Session
from rayhpc.batch.yarn.submission import Terms, submission_context
from rayhpc.hadoop.client import ENDED
from rayhpc.hadoop.ids import application_name
from rayhpc.hadoop.messages.applications import ApplicationReportProto
from rayhpc.hadoop.resource_managers import MASTERS, addresses


class Submitted:
    """One application.

    Args:
        configuration: the cluster's folder of configuration files.
        folder: where its files are staged.
        program: a Python program's text.
        environ: further variables of the client's.
    """

    def __init__(
        self,
        configuration: Path,
        folder: Path,
        program: str,
        nodes: int,
        *,
        environ: dict[str, str] | None = None,
        terms: Terms = Terms(),
        **options: object,
    ) -> None:
        os.environ.update(environ or {})
        self._session = Session({**os.environ, "HADOOP_CONF_DIR": str(configuration)})
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "program.py").write_text(program)
        # Of a test that is killed nothing runs for longer than this.
        wanted = {"needed": nodes, "memory_mib": 512, "patience_s": 120.0, **options}
        application = Application(
            name="test",
            command=["python", str(folder / "program.py")],
            nodes=nodes,
            python=sys.executable,
            directory=str(folder),
            managers=addresses(self._session.configuration, MASTERS),
            **wanted,  # type: ignore[arg-type]
        )
        number = self._session.client.new_application().application_id
        assert number is not None
        self._number, self.name = number, application_name(number)
        shared = [_stage(folder, FILE, application.encode())]
        own = [*shared, _stage(folder, RESOURCES, encode_resources(shared))]
        credentials = self._session.credentials()
        context = submission_context(number, application, own, terms, credentials)
        self._session.client.submit(context)

    def report(self) -> ApplicationReportProto:
        """How it is."""
        return self._session.client.report(self._number)

    def wait(self, limit_s: float = 60.0) -> ApplicationReportProto:
        """Its report when it has ended."""
        wait_until(lambda: self.report().yarn_application_state in ENDED, limit_s)
        return self.report()


def _stage(folder: Path, name: str, data: bytes) -> Resource:
    path = folder / name
    path.write_bytes(data)
    facts = path.stat()
    return Resource(name, "file", "", 0, str(path), facts.st_size, facts.st_mtime_ns // 10**6)


def wait_until(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Look again and again; fails if it does not hold in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)
