"""What a user may say about a node, and the words for what cannot be."""

from __future__ import annotations

import pytest

from rayhpc.exit_codes import ExitCode, LaunchError, exit_code_of, in_words
from rayhpc.launch import node_config
from rayhpc.launch.options import NodeOptions, check_options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (NodeOptions(num_cpus=-1), "--num-cpus"),
        (NodeOptions(num_gpus=-2), "--num-gpus"),
        (NodeOptions(num_cpus=1.5), "--num-cpus"),  # type: ignore[arg-type]
        (NodeOptions(memory=0), "--memory"),
        (NodeOptions(object_store_memory=5), "--object-store-memory"),
        (NodeOptions(resources={"GPU": 1}), "--num-gpus"),
        (NodeOptions(resources={"disk": -1}), "--resources"),
        (NodeOptions(resources={"disk": float("nan")}), "--resources"),
        (NodeOptions(resources={"disk": "much"}), "--resources"),  # type: ignore[dict-item]
        (NodeOptions(labels={"": "x"}), "--labels"),
        (NodeOptions(labels={"rayhpc.io/end-time": "noon"}), "since 1970, not 'noon'"),
        (NodeOptions(labels={"rayhpc.io/end-time": "9" * 12}), "since 1970, not"),
        (NodeOptions(ports=(200, 100)), "--port-range"),
        (NodeOptions(ports=(0, 100)), "--port-range"),
    ],
)
def test_an_impossible_option_is_named(options: NodeOptions, named: str) -> None:
    with pytest.raises(LaunchError, match=named) as caught:
        check_options(options)
    assert caught.value.code == ExitCode.CONFIGURATION


def test_a_range_that_is_too_small_says_how_many_ports_are_needed() -> None:
    with pytest.raises(LaunchError, match="at least 2"):
        check_options(NodeOptions(ports=(20000, 20000)), listeners=2)
    check_options(NodeOptions(ports=(20000, 20000)), listeners=1)


def test_sensible_options_pass() -> None:
    check_options(
        NodeOptions(num_cpus=0, num_gpus=2, resources={"disk": 0.5, "x": 0}, labels={"zone": "a"})
    )


def test_a_signal_becomes_128_and_its_number() -> None:
    assert exit_code_of(-15) == 143
    assert exit_code_of(3) == 3
    assert in_words(143) == "ended by SIGTERM"
    assert "head" in in_words(ExitCode.HEAD_LOST)


@pytest.mark.parametrize(("told", "kept"), [("", 500_000), ("7", 7), ("2_000_000", 2_000_000)])
def test_how_many_tasks_a_node_remembers(told: str, kept: int) -> None:
    assert node_config._runs_kept({"RAYHPC_TASK_RUNS": told}) == kept


@pytest.mark.parametrize("told", ["0", "-1", "many"])
def test_a_number_of_tasks_that_cannot_be_is_named(told: str) -> None:
    with pytest.raises(LaunchError, match=f"RAYHPC_TASK_RUNS={told}"):
        node_config._runs_kept({"RAYHPC_TASK_RUNS": told})
