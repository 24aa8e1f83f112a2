"""The output of a job, fetched by several commands at a time into one folder."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest

from rayhpc.batch.folder import JobFolder, JobRecord
from rayhpc.batch.yarn.logs import Mirror

LOGS = {"first": "one\n", "second": "two\n"}


class Nodes:
    """The session of a command: the attempts there are, and what their containers have written."""

    scheme = "http"

    def __init__(self, *containers: str, together: threading.Barrier | None = None) -> None:
        self._containers, self._together = containers, together
        self.web = self

    def get(self, path: str) -> Any:
        attempts = [
            {"id": str(number), "containerId": name, "nodeHttpAddress": "node:8042"}
            for number, name in enumerate(self._containers, 1)
        ]
        return {"appAttempts": {"appAttempt": attempts}}

    def send(self, method: str, url: str) -> bytes:
        if self._together is not None:
            with contextlib.suppress(threading.BrokenBarrierError):
                self._together.wait(0.1)
        container, stream = url.partition("?")[0].split("/")[-2:]
        text = LOGS[container] if stream == "stdout" else ""
        return f"\nLogLength:{len(text)}\nLogContents:\n{text}".encode()


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    folder = JobFolder(tmp_path)
    folder.set_record(JobRecord("yarn", "train", ["python", "train.py"], 1, 1.0))
    return folder


def mirror(folder: JobFolder, nodes: Nodes) -> Mirror:
    return Mirror(folder, nodes, "application_1_1")  # type: ignore[arg-type]


def test_two_commands_add_it_once(folder: JobFolder) -> None:
    nodes = Nodes("first", together=threading.Barrier(2))
    threads = [threading.Thread(target=mirror(folder, nodes).fetch) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert folder.output("stdout").read_text() == "one\n"


def test_who_knows_only_the_first_attempt_adds_nothing_to_the_second(folder: JobFolder) -> None:
    late = mirror(folder, Nodes("first"))
    assert late.fetch()
    assert mirror(folder, Nodes("first", "second")).fetch()
    assert late.fetch()
    assert folder.output("stdout").read_text() == "one\ntwo\n"
