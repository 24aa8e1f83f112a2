"""Jobs that grow: `--nodes 1:16` in every layer, and what `rayhpc status` prints of one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rayhpc.batch.errors import OptionError
from rayhpc.batch.rendering import run_options
from rayhpc.batch.request import JobRequest, check
from rayhpc.cli import elastic_status
from rayhpc.cli.submit_options import merge, parse_layer
from rayhpc.wire.messages.elastic import ElasticStatus


def layer(*words: str) -> dict[str, object]:
    return parse_layer(words, "test")


def test_a_range_is_the_least_and_the_most() -> None:
    merged = merge([layer("--nodes", "2:16")])
    assert (merged["nodes"], merged["max_nodes"]) == (2, 16)
    request = check(JobRequest(("x",), nodes=2, max_nodes=16, idle_timeout=5.0))
    assert run_options(request) == ["--elastic", "16", "--idle-timeout", "5"]


def test_one_number_takes_the_range_of_a_lower_layer_away() -> None:
    merged = merge([layer("--nodes", "4"), layer("--nodes", "1:16")])
    assert (merged["nodes"], merged["max_nodes"]) == (4, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"nodes": 5, "max_nodes": 2}, "--nodes 5:2: the first number is the least.*2:5"),
        ({"nodes": 0, "max_nodes": 4}, "--nodes 0: give a number of at least 1"),
        ({"idle_timeout": 5.0}, "--idle-timeout is for a job that grows"),
        ({"max_nodes": 4, "array": "0-3"}, "--array exclude each other"),
        ({"max_nodes": 4, "engine": "ray"}, "leave out --engine ray"),
    ],
)
def test_what_makes_no_sense_is_refused(words: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        check(JobRequest(("x",), **words))


def test_no_range_of_nodes() -> None:
    with pytest.raises(OptionError, match="'1:x' is not a range of nodes like 1:16"):
        layer("--nodes", "1:x")


def test_status_says_what_is_asked_for_and_coming() -> None:
    status = ElasticStatus(
        0.0, [("worker-5 pending: Resources", "for 42 s")], {"worker": (4, 6, 0, 15)}
    )
    out = io.StringIO()
    elastic_status.render(status, Console(file=out, width=100))
    assert out.getvalue() == (
        "worker: 4 up, 2 on their way; 0 to 15\n  worker-5 pending: Resources (for 42 s)\n"
    )
    assert elastic_status.to_json(None) is None
