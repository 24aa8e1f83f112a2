"""The documents hold: references are up to date, links lead somewhere, examples are named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.clusters.node_types import worker_types
from rayhpc.clusters.read import read

ROOT = Path(__file__).parents[2]
FOLDERS = ("*.md", "docs/**/*.md", "slurm/**/*.md", "yarn/**/*.md", "ssh/**/*.md")
PAGES = sorted(page for pattern in FOLDERS for page in ROOT.glob(pattern))
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


def test_the_references_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "docs/make_reference.py"), "--check"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, _ in LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readmes_commands_are_those_of_the_suite() -> None:
    text = (ROOT / "README.md").read_text()
    assert "tests/run" in text
    assert "tests/run" in (ROOT / ".ci/run").read_text()


def test_every_example_says_how_to_run_it() -> None:
    examples = list((ROOT / "rayhpc/examples").glob("[!_]*.py"))
    assert examples
    for path in examples:
        assert re.search("rayhpc submit|sbatch ", path.read_text()), path.name


def test_the_clusters_files_on_their_page_are_read_as_they_are() -> None:
    text = (ROOT / "docs/clusters.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        whole = block if "cluster_name" in block else f"cluster_name: x\n{block}"
        file = read(whole, "cluster.yaml")
        assert file.ignored == ()
        assert all(each.max_nodes for each in worker_types(file, 60.0))


def test_the_python_of_the_tutorial_runs() -> None:
    """The tutorial's blocks, in order, as one program."""
    text = (ROOT / "docs/tutorial/first-steps.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 4
    program = "\n".join(blocks)
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str([i * i for i in range(10)])
    assert "\n81\n" in done.stdout
