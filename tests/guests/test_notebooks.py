"""The cells of docs/notebooks.md, run by a real kernel: alone, and in a job of two nodes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nbclient", reason="nbclient runs notebooks: pip install nbclient ipykernel")
pytest.importorskip("ipykernel", reason="the kernel of notebooks: pip install nbclient ipykernel")

ROOT = Path(__file__).parents[2]
CELLS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/notebooks.md").read_text(), re.DOTALL)

# Runs the cells that come through standard input; prints each one's outputs, and all that was
# printed, as JSON.
_RUNNER = """
import json, queue, sys
import nbformat
from jupyter_client import BlockingKernelClient
from nbclient import NotebookClient

cells = json.load(sys.stdin)
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(x) for x in cells])
client = NotebookClient(book, timeout=60, allow_errors=True, kernel_name="python3")
listener = BlockingKernelClient()


def listen(**_):
    listener.load_connection_file(client.km.connection_file)
    listener.start_channels(shell=False, stdin=False, hb=False, control=False)


client.on_notebook_start = listen
client.execute()
# nbclient drops what is printed between two cells; a page shows it below the earlier one.
printed = ""
try:
    while True:
        message = listener.get_iopub_msg(timeout=1)
        if message["msg_type"] == "stream":
            printed += message["content"]["text"]
except queue.Empty:
    listener.stop_channels()
found = {"cells": [cell.outputs for cell in book.cells], "printed": printed}
print("OUTPUTS " + json.dumps(found))
"""


Outputs = list[list[dict[str, Any]]]


# Prints, as JSON, what each cell has displayed, updates included.
_DISPLAYS = """
import json, sys
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")
try:
    for cell in json.loads(sys.argv[1]):
        shown = []

        def note(message):
            if message["msg_type"] in ("display_data", "update_display_data"):
                shown.append(message["content"])
            elif message["msg_type"] == "error":
                sys.exit(str(message["content"]))

        client.execute_interactive(cell, timeout=60, output_hook=note)
        print(json.dumps(shown))
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""
WAITS = [
    """
import os, time
import rayhpc as ray
from rayhpc.api.objects import waiting_line
ray.init(num_cpus=1)

@ray.remote
def slow():
    time.sleep(2.6)

never = ray.remote(num_cpus=7)(lambda: None).remote()
""",
    "ray.get([ray.put(1), slow.remote()])",
    """
ray.shutdown()
os.environ[waiting_line.VARIABLE] = "0"
ray.init(num_cpus=1)
assert waiting_line.line() is None
""",
]


def _outputs(cells: list[str], tmp_path: Path, *launcher: str) -> tuple[Outputs, str]:
    """The outputs of each cell, and all that was printed, also between two cells."""
    runner = tmp_path / "runner.py"
    # Under a launcher standard input is closed.
    runner.write_text(_RUNNER.replace("json.load(sys.stdin)", repr(cells)))
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [*launcher, sys.executable, str(runner)],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "RAYHPC_JOBS": str(tmp_path / "jobs"),
            "RAYHPC_DEDUP_LOGS": "0",
            "IPYTHONDIR": str(tmp_path / "ipython"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("OUTPUTS ")]
    found = json.loads(line.removeprefix("OUTPUTS "))
    return found["cells"], found["printed"]


def _cell(outputs: Outputs, part: str, cells: list[str]) -> dict[str, Any]:
    """What the cell with `part` in it gave: its value, all that was printed, its error."""
    (index,) = [i for i, cell in enumerate(cells) if part in cell]
    found: dict[str, Any] = {"value": None, "text": "", "error": None}
    for output in outputs[index]:
        if output["output_type"] == "execute_result":
            found["value"] = output["data"]["text/plain"]
        elif output["output_type"] == "stream":
            found["text"] += output["text"]
        elif output["output_type"] == "error":
            found["error"] = (output["ename"], output["evalue"])
    return found


def _check_page(outputs: Outputs, printed: str, cells: list[str]) -> None:
    first = _cell(outputs, "for i in range(4)", cells)
    assert first["value"] == "[0, 2, 4, 6]"
    assert _cell(outputs, "await double.remote(21)", cells)["value"] == "42"
    assert _cell(outputs, "asyncio.gather", cells)["value"] == "[0, 2, 4]"
    assert _cell(outputs, "return [x, x]", cells)["value"] == "[1, 1]"
    assert _cell(outputs, "for _ in range(3)", cells)["value"] == "[1, 2, 3]"
    assert _cell(outputs, 'return "new"', cells)["value"] == "[4, 'new']"
    name, text = _cell(outputs, "def fails", cells)["error"]
    assert "ValueError" in name
    assert "in the task" in text
    assert "in fails" in text
    assert _cell(outputs, "still here", cells)["value"] == "['still here', 'still here']"
    for i in range(4):
        assert re.search(rf"\(double pid=\d+.*\) doubling {i}\n", printed)
    errors = [x for cell in outputs for x in cell if x["output_type"] == "error"]
    assert len(errors) == 1


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_pages_cells_with_a_cluster_of_the_kernels_own(tmp_path: Path) -> None:
    _check_page(*_outputs(CELLS, tmp_path), CELLS)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_pages_cells_in_a_job_of_two_nodes(tmp_path: Path) -> None:
    cells = [*CELLS[:-1], "print(len(ray.nodes()), 'nodes')", CELLS[-1]]
    submit = [sys.executable, "-m", "rayhpc.cli.main", "submit", "--scheduler", "local"]
    size = ("--nodes", "2", "--cpus-per-node", "1")
    outputs, printed = _outputs(cells, tmp_path, *submit, *size, "--")
    _check_page(outputs, printed, cells)
    assert "2 nodes\n" in _cell(outputs, "'nodes')", cells)["text"]


def test_a_cell_that_waits_shows_a_bar_that_goes_with_the_wait(tmp_path: Path) -> None:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environ = {**os.environ, "PYTHONPATH": path, "IPYTHONDIR": str(tmp_path / "ipython")}
    done = subprocess.run(
        [sys.executable, "-c", _DISPLAYS, json.dumps(WAITS)],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, (first, *more), off = map(json.loads, done.stdout.splitlines())
    assert (before, off) == ([], [])
    assert "waiting:  50%|" in first["data"]["text/plain"]
    assert '<progress value="1" max="2"></progress>' in first["data"]["text/html"]
    assert "1 of 2 ready" in first["data"]["text/html"]
    assert "1 pending" in first["data"]["text/html"]
    # The same place, which is empty in the end.
    assert {x["transient"]["display_id"] for x in more} == {first["transient"]["display_id"]}
    assert more[-1]["data"] == {"text/plain": "", "text/html": ""}


def test_the_page_names_commands_and_names_that_exist() -> None:
    from rayhpc.cli.main import COMMANDS

    page = (ROOT / "docs/notebooks.md").read_text()
    verbs = set(re.findall(r"(?:^|`|-- )rayhpc ([a-z]+)\b", page, re.MULTILINE))
    assert {"submit", "forward", "attach"} <= verbs
    assert verbs <= set(COMMANDS)
