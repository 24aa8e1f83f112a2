"""Profiles and `#RAYHPC` lines: which layer decides, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayhpc.batch import profiles
from rayhpc.batch.directives import read_directives
from rayhpc.batch.errors import OptionError


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "rayhpc" / "profiles").mkdir(parents=True)
    return {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}


def write(environ: dict[str, str], name: str, text: str) -> Path:
    path = Path(environ["XDG_CONFIG_HOME"]) / "rayhpc" / "profiles" / f"{name}.toml"
    path.write_text(text)
    return path


def test_all_shipped_profiles_are_right(environ: dict[str, str]) -> None:
    from rayhpc.cli.submit_options import from_profile

    names = list(profiles.known(environ))
    assert {"generic", "lumi-g", "perlmutter-gpu"} <= set(names)
    for name in names:
        assert from_profile(environ, name)
        assert profiles.load(environ, name).description


def test_the_own_profile_goes_before_the_one_it_extends(environ: dict[str, str]) -> None:
    mine = write(environ, "mine", 'extends = "lumi-g"\n[submit]\naccount = "p"\ntime = "5"\n')
    found = {each.option: each for each in profiles.settings(environ, "mine")}
    assert (found["time"].value, found["time"].origin) == ("5", mine)
    assert found["partition"].value == "standard-g"
    assert found["partition"].origin.name == "lumi-g.toml"


def test_a_profile_of_the_same_name_replaces_the_shipped_one(environ: dict[str, str]) -> None:
    mine = write(environ, "generic", "[submit]\nnodes = 2\n")
    assert profiles.load(environ, "generic").path == mine


def test_words() -> None:
    origin = Path("p.toml")
    setting = profiles.Setting
    assert setting("nodes", 2, origin).words() == ["--nodes", "2"]
    assert setting("exclusive", False, origin).words() == ["--no-exclusive"]
    assert setting("module", ["a", "b"], origin).words() == ["--module", "a", "--module", "b"]
    assert setting("env", {"A": "1 2"}, origin).words() == ["--env", "A=1 2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes = 3", "under \\[submit\\]"),
        ("[submit\n", "mine.toml"),
        ("[match]\nhost = 'x'\n", "takes cluster and hostname"),
        ("submit = 3", "write \\[submit\\]"),
        ("extends = 3", "extends takes a text"),
        ('extends = "nobody"\n', "no profile 'nobody'"),
    ],
)
def test_wrong_files_are_named(environ: dict[str, str], text: str, said: str) -> None:
    write(environ, "mine", text)
    with pytest.raises(OptionError, match=said):
        profiles.settings(environ, "mine")


def test_a_circle_ends(environ: dict[str, str]) -> None:
    write(environ, "a", 'extends = "b"\n')
    write(environ, "b", 'extends = "a"\n')
    with pytest.raises(OptionError, match="circle"):
        profiles.settings(environ, "a")


def test_an_unknown_option_is_refused_with_the_nearest(environ: dict[str, str]) -> None:
    from rayhpc.cli.submit_options import from_profile

    write(environ, "mine", "[submit]\npartitoin = 'x'\n")
    with pytest.raises(OptionError, match=r"mine.*--partition"):
        from_profile(environ, "mine")


def test_who_chooses(environ: dict[str, str]) -> None:
    write(environ, "site", '[match]\ncluster = "lab*"\n')
    assert profiles.chosen_name(environ) is None
    at_site = {**environ, "SLURM_CLUSTER_NAME": "lab7"}
    assert profiles.chosen_name(at_site) == ("site", "this cluster is lab7")
    profiles.use(environ, "generic")
    assert profiles.chosen_name(at_site) == ("generic", "rayhpc profile use")
    told = {**at_site, "RAYHPC_PROFILE": "lumi-c"}
    assert profiles.chosen_name(told) == ("lumi-c", "RAYHPC_PROFILE")
    assert profiles.chosen_name(told, "lumi-g") == ("lumi-g", "--profile")
    assert profiles.chosen_name(told, "none") is None
    with pytest.raises(OptionError, match="no profile 'nobody'"):
        profiles.use(environ, "nobody")


def test_the_clusters_name_is_read_without_the_controller(
    environ: dict[str, str], tmp_path: Path
) -> None:
    conf = tmp_path / "slurm.conf"
    conf.write_text("# ClusterName=no\nClusterName = deep # yes\n")
    assert profiles.cluster_name({**environ, "SLURM_CONF": str(conf)}) == "deep"


def test_directives_end_with_the_comments(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text(
        "#!/usr/bin/env python3\n\n# about\n#RAYHPC --nodes 4  # four\n"
        "#RAYHPC --job-name 'a b'\nimport os\n#RAYHPC --nodes 9\n"
    )
    assert read_directives(program) == ["--nodes", "4", "--job-name", "a b"]


def test_directives_with_an_open_quote_are_named(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text("#RAYHPC --nodes 4\n#RAYHPC --job-name 'a\n")
    with pytest.raises(OptionError, match=r"train\.py:2"):
        read_directives(program)
