"""`docs/yarn.md` as written there, and the files of `yarn/`, on the fake YARN."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.batch.yarn import document
from tests.yarn.fake.cluster import FakeYarn
from tests.yarn.terminal import Terminal

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "yarn").glob("*.yaml"))
PAGE = ROOT / "docs" / "yarn.md"


@pytest.fixture(scope="module")
def yarn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeYarn]:
    cluster = FakeYarn(tmp_path_factory.mktemp("yarn"), nodes=3)
    cluster.labels = ["big"]
    yield cluster
    cluster.close()


@pytest.fixture
def user(yarn: FakeYarn, tmp_path: Path) -> Terminal:
    return Terminal({"HADOOP_CONF_DIR": str(yarn.configuration)}, tmp_path / "home")


@pytest.mark.timeout(180)
def test_the_page_takes_a_newcomer_through_it(user: Terminal, yarn: FakeYarn) -> None:
    text = PAGE.read_text()
    blocks = re.findall(r"```(python|sh)\n(.*?)```", text, re.DOTALL)
    lines: list[str] = []
    for kind, block in blocks:
        if kind == "python":
            name = block.partition("\n")[0].removeprefix("# ")
            user.write(name, block)
        else:
            lines += block.splitlines()
    assert lines[0] == "export HADOOP_CONF_DIR=/etc/hadoop/conf"
    said = ""
    for line in lines[1:]:
        done = subprocess.run(
            line,
            shell=True,
            executable="/bin/bash",
            cwd=user.folder,
            env=user.environ,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        said += done.stdout
    assert len(lines) >= 6
    assert said.count("30 answers\n") == 2  # from submit, and from logs
    assert "is over (SUCCEEDED, exit code 0)" in said
    assert "\n  nodes: 3\n" in said


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_ready_files_run(user: Terminal, spec: Path) -> None:
    text = "import os, rayhpc\nrayhpc.init()\nprint(os.environ['RAYHPC_SIZE'], 'of us')\n"
    name = user.write("train.py", text)
    done = user.run("submit", "--template", str(spec), "--", "python", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{1 if spec.stem == 'queue' else 2} of us\n"


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_ready_files_ship_the_program_where_nodes_do_not_see_it(user: Terminal, spec: Path) -> None:
    name = user.write("train.py", "")
    options = ["--dry-run", "--template", str(spec), "--yarn", "--staging webhdfs"]
    done = user.run("submit", *options, "--", "python", name)
    assert done.returncode == 0, done.stderr
    shipped = document.read(done.stdout).files
    assert [(each.name, each.source) for each in shipped] == [(name, str(user.folder / name))]


def test_all_ready_files_are_told() -> None:
    told = (ROOT / "yarn" / "README.md").read_text()
    assert SPECS
    for spec in SPECS:
        assert f"`{spec.name}`" in told
