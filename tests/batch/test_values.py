"""Values of options: what is taken, what is refused and how."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayhpc.batch import values
from rayhpc.batch.errors import OptionError
from rayhpc.batch.request import JobRequest, check


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\x00b", "a\x1bb", "a\u2028b", "", "  "])
def test_a_text_is_one_line(bad: str) -> None:
    with pytest.raises(OptionError, match="--account"):
        values.text("--account", bad)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("2:00:00", 7200),
        ("1-12", 129600),
        ("1-0:30", 88200),
        ("1-0:0:5", 86405),
        ("UNLIMITED", None),
    ],
)
def test_times(text: str, seconds: float | None) -> None:
    assert values.seconds(values.duration("--time", text)) == seconds


@pytest.mark.parametrize("bad", ["soon", "-5", "1:2:3:4", "1d", "", "5\n", "9" * 5000, "²"])
def test_what_is_no_time(bad: str) -> None:
    with pytest.raises(OptionError, match="--time"):
        values.duration("--time", bad)


@pytest.mark.parametrize(
    ("text", "made", "size"),
    [
        ("64G", "64G", 64 << 30),
        ("64 GiB", "64G", 64 << 30),
        ("500", "500", 500 << 20),
        ("2tb", "2T", 2 << 40),
        ("0", "0", 0),
    ],
)
def test_memory(text: str, made: str, size: int) -> None:
    assert values.memory("--mem", text) == made
    assert values.memory_bytes(made) == size


@pytest.mark.parametrize("bad", ["much", "1.5G", "-1", "G", "1 2"])
def test_what_is_no_memory(bad: str) -> None:
    with pytest.raises(OptionError, match="--mem"):
        values.memory("--mem", bad)


def test_array_tasks() -> None:
    assert values.array_tasks(values.array("--array", "0-6:3,9,2%4")) == [0, 2, 3, 6, 9]
    for bad in ("", "a", "1-", "5-1", "1,,2", "1;2"):
        with pytest.raises(OptionError, match="--array"):
            values.array("--array", bad)


def test_variables() -> None:
    assert values.variable("--env", "A=b=c\n") == ("A", "b=c\n")
    for bad in ("A", "1A=x", "A B=x", "=x", "A;rm=x"):
        with pytest.raises(OptionError, match="--env"):
            values.variable("--env", bad)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": 0}, "--nodes 0"),
        ({"cpus_per_node": -1}, "--cpus-per-node -1"),
        ({"gpus_per_node": "many"}, "--gpus-per-node"),
        ({"min_nodes": 5}, "--min-nodes 5"),
        ({"start_timeout": 0.0}, "--start-timeout"),
        ({"partition": "a\n#SBATCH --uid=0"}, "line break"),
        ({"further": {"slurm": ("--x\n",)}}, "line break"),
        ({"venv": "/nowhere"}, "no bin/activate"),
        ({"conda": "a", "container": "b"}, "give one of them"),
        ({"env": {"A B": "x"}}, "NAME=value"),
        ({"command": ()}, "nothing to run"),
    ],
)
def test_requests_that_cannot_be(changes: dict[str, object], said: str) -> None:
    known: dict[str, object] = {"command": ("python",), "nodes": 2, "work_dir": "/w", **changes}
    with pytest.raises(OptionError, match=said):
        check(JobRequest(**known))  # type: ignore[arg-type]


words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=40, deadline=None)
@given(st.lists(words, min_size=1, max_size=4), words)
def test_no_value_leaves_its_quotes(command: list[str], value: str) -> None:
    """The shell sees exactly the words and the variable that were given."""
    from rayhpc.batch.folder import JobFolder
    from rayhpc.batch.registry import system

    request = JobRequest(("printf", "%s|", *command), env={"V": value}, work_dir="/")
    script = system("slurm").jobs().render(check(request), JobFolder(Path("/tmp/none")))
    before, _, after = script.partition("\nsrun ")
    line = after[after.index("\n    -- ") + 8 : after.index("\nfinish $?")]
    program = f'{before}\nprintf "%s|" "$V"; {line}'
    quiet = f"date() {{ :; }}; rm() {{ :; }}\n{program}"
    done = subprocess.run(["bash", "-c", quiet], capture_output=True, check=True, timeout=20)
    assert done.stdout.decode() == "".join(f"{each}|" for each in (value, *command))
    assert shlex.split(shlex.quote(value)) == [value]
