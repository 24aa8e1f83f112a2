"""`import rayhpc` is quick and loads nothing heavy; its names are what it says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

import rayhpc
from rayhpc.exceptions import NotServedError

HEAVY = ("numpy", "psutil", "click", "rich", "jinja2", "asyncio")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_importing_loads_nothing_heavy(run_program: Run) -> None:
    done = run_program("import sys, rayhpc; print(sorted(sys.modules))")
    loaded = set(eval(done.stdout))
    assert not loaded.intersection(HEAVY)
    assert {x for x in loaded if x.startswith("rayhpc")} == {"rayhpc"}


def test_neither_does_the_whole_api(run_program: Run) -> None:
    done = run_program(
        """
        import sys, rayhpc
        for name in rayhpc.__all__:
            getattr(rayhpc, name)
        print(sorted(sys.modules))
        """
    )
    assert not set(eval(done.stdout)).intersection(HEAVY)


def test_all_is_sorted_complete_and_there() -> None:
    assert rayhpc.__all__ == sorted(rayhpc.__all__)
    assert set(rayhpc.__all__) == {*rayhpc._HOMES, "__version__"}
    for name in rayhpc.__all__:
        assert getattr(rayhpc, name) is not None
    assert set(rayhpc.__all__) <= set(dir(rayhpc))
    assert rayhpc.__version__ == "0.1.0"


def test_what_is_not_served_names_the_alternative_and_is_no_attribute() -> None:
    for name in ("serve", "train", "tune", "data", "ClientBuilder", "job_submission"):
        with pytest.raises(NotServedError, match=name):
            getattr(rayhpc, name)
        assert not hasattr(rayhpc, name)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = rayhpc.nothing_like_it
