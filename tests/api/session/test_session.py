"""Joining and leaving: each test is a program of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc.api.session import session as session_module

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_first_call_starts_a_cluster(run_program: Run) -> None:
    done = run_program(
        """
        import rayhpc
        assert not rayhpc.is_initialized()
        @rayhpc.remote
        def f(x):
            return x + 1
        print(rayhpc.get(f.remote(1)), rayhpc.is_initialized())
        """
    )
    assert done.stdout.split() == ["2", "True"]


def test_threads_that_need_a_cluster_at_once_share_it(run_program: Run) -> None:
    run_program(
        """
        import concurrent.futures, rayhpc
        @rayhpc.remote
        def f(x):
            return x
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda x: rayhpc.get(f.remote(x)), range(8)))
        assert found == list(range(8))
        assert len(rayhpc.nodes()) == 1
        """
    )


def test_a_second_init_is_an_error_unless_it_is_to_be_ignored(run_program: Run) -> None:
    run_program(
        """
        import rayhpc, pytest
        first = rayhpc.init(num_cpus=1)
        with pytest.raises(RuntimeError, match="ignore_reinit_error=True"):
            rayhpc.init()
        assert rayhpc.init(ignore_reinit_error=True) is first
        rayhpc.shutdown()
        assert not rayhpc.is_initialized()
        rayhpc.shutdown()
        rayhpc.init(num_cpus=2)
        assert rayhpc.cluster_resources()["CPU"] == 2
        """
    )


def test_the_context(run_program: Run) -> None:
    run_program(
        """
        import os, rayhpc
        with rayhpc.init(num_cpus=1, include_dashboard=False) as context:
            assert context.dashboard_url == ""
            assert context["node_id"] == rayhpc.nodes()[0]["NodeID"]
            assert context.address_info["address"] == context["gcs_address"]
            assert os.path.isdir(context["session_dir"])
            assert "session_dir" in dict(context)
            assert len(context) == len(list(context))
            assert rayhpc.is_initialized()
        assert not rayhpc.is_initialized()
        assert not os.path.exists(context["session_dir"])
        rayhpc.init(num_cpus=1).disconnect()
        assert not rayhpc.is_initialized()
        """
    )


def test_arguments_of_ray_s_own_processes_are_taken(run_program: Run) -> None:
    run_program(
        """
        import rayhpc
        rayhpc.init(
            num_cpus=1, include_dashboard=False, dashboard_host="0.0.0.0", _redis_password="x",
            _memory=200 * 2**20, _metrics_export_port=8080, _temp_dir="/tmp", local_mode=False,
            _system_config={"a": 1}, configure_logging=True, logging_level="warning",
        )
        assert rayhpc.cluster_resources()["memory"] == 200 * 2**20
        """
    )


WHAT_INIT_REFUSES = [
    ("num_cpu=1", "RuntimeError", "Did you mean 'num_cpus'"),
    ("num_cpus=-1", "ValueError", "num_cpus"),
    ("num_cpus='4'", "TypeError", "num_cpus"),
    ("num_cpus=1.5", "ValueError", "num_cpus"),
    ("num_cpus=1e20", "ValueError", "num_cpus"),
    ("num_gpus=10**400", "ValueError", "num_gpus"),
    ("object_store_memory=float('inf')", "ValueError", "object_store_memory"),
    ("labels={'a': chr(0xdc80)}", "ValueError", "UTF-8"),
    ("namespace=chr(0xdc80)", "ValueError", "UTF-8"),
    ("5", "TypeError", "address"),
    ("resources={'CPU': 2}", "ValueError", "num_cpus"),
    ("object_store_memory=10", "ValueError", "object-store-memory"),
    ("labels={'a': 1}", "TypeError", "labels"),
    ("namespace=''", "ValueError", "namespace"),
    ("runtime_env={'conda': ['x']}", "NotServedError", "conda"),
    ("runtime_env={'working_dir': '/not/there'}", "ValueError", "/not/there"),
    ("'ray://somewhere:10001'", "NotServedError", "ray://somewhere"),
    ("'10.255.255.1:6379'", "ConnectionError", "10.255.255.1"),
    ("'nonsense'", "ConnectionError", "nonsense"),
    ("'/not/a/session'", "ConnectionError", "/not/a/session"),
]


def test_what_init_refuses(run_program: Run) -> None:
    """All in one program: what was refused before disturbs nothing that comes after."""
    run_program(
        f"""
        import re, rayhpc, pytest
        from rayhpc.exceptions import NotServedError
        for call, error, words in {WHAT_INIT_REFUSES!r}:
            with pytest.raises(eval(error), match=re.escape(words)):
                eval(f"rayhpc.init({{call}})")
            assert not rayhpc.is_initialized(), call
        rayhpc.init(num_cpus=1)
        """,
    )


def test_the_job_s_environment_and_namespace(run_program: Run, tmp_path: Path) -> None:
    (tmp_path / "helper_of_job.py").write_text("VALUE = 7\n")
    run_program(
        f"""
        import os, rayhpc
        rayhpc.init(
            num_cpus=1, namespace="mine",
            runtime_env={{"env_vars": {{"OF_JOB": "yes"}}, "working_dir": {str(tmp_path)!r}}},
        )
        @rayhpc.remote
        def look():
            import helper_of_job
            context = rayhpc.get_runtime_context()
            return os.environ["OF_JOB"], helper_of_job.VALUE, context.namespace
        assert rayhpc.get(look.remote()) == ("yes", 7, "mine")
        more = {{"env_vars": {{"MORE": "too"}}}}
        @rayhpc.remote(runtime_env=more)
        def both():
            return os.environ["OF_JOB"] + os.environ["MORE"]
        assert rayhpc.get(both.remote()) == "yestoo"
        """
    )


# -- a cluster that exists -----------------------------------------------------------------------
_KEEPER = """
import sys, rayhpc
context = rayhpc.init(num_cpus=2, namespace="keeper")
print(context["session_dir"], context["address"], flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def keeper() -> Iterator[tuple[str, str]]:
    """A program that has a cluster: its session's directory and its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", _KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    session, address = process.stdout.readline().split()
    yield session, address
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()


_JOIN = """
import rayhpc
from rayhpc.api.session import session as session_module
rayhpc.init({call})
print(rayhpc.cluster_resources()["CPU"], rayhpc.get_runtime_context().gcs_address)
@rayhpc.remote
def f():
    return rayhpc.get_runtime_context().get_job_id()
assert rayhpc.get(f.remote()) == rayhpc.get_runtime_context().get_job_id()
"""


def test_joining_by_directory_address_and_variable(run_program: Run, keeper: Any) -> None:
    session, address = keeper
    expected = ["2.0", address]
    assert run_program(_JOIN.format(call=repr(session))).stdout.split() == expected
    assert run_program(_JOIN.format(call=repr(address))).stdout.split() == expected
    told = {"RAYHPC_ADDRESS": address}
    assert run_program(_JOIN.format(call=""), env=told).stdout.split() == expected
    assert run_program(_JOIN.format(call="'auto'"), env=told).stdout.split() == expected
    alone = run_program(_JOIN.format(call="'local', num_cpus=1"), env=told).stdout.split()
    assert alone[0] == "1.0"
    assert alone[1] != address
    # RAY_ADDRESS is meant for programs that use rayhpc under the name ray.
    other = run_program(_JOIN.format(call="num_cpus=1"), env={"RAY_ADDRESS": address})
    assert other.stdout.split()[0] == "1.0"


def test_sizes_of_a_cluster_that_exists_are_told_once_and_ignored(
    run_program: Run, keeper: Any
) -> None:
    session, _ = keeper
    done = run_program(_JOIN.format(call=f"{session!r}, num_cpus=7, object_store_memory=2**30"))
    assert done.stdout.startswith("2.0")
    assert done.stderr.count("exists already") == 1
    assert "num_cpus, object_store_memory" in done.stderr


def test_programs_share_detached_actors_by_name(run_program: Run, keeper: Any) -> None:
    session, _ = keeper
    run_program(
        f"""
        import rayhpc
        rayhpc.init({session!r}, namespace="shared")
        @rayhpc.remote
        class Store:
            def __init__(self): self.x = 0
            def add(self): self.x += 1; return self.x
        kept = Store.options(name="kept", lifetime="detached").remote()
        lost = Store.options(name="lost").remote()
        assert rayhpc.get([kept.add.remote(), lost.add.remote()]) == [1, 1]
        """
    )
    run_program(
        f"""
        import rayhpc, pytest, time
        rayhpc.init({session!r}, namespace="shared")
        assert rayhpc.get(rayhpc.get_actor("kept").add.remote()) == 2
        deadline = time.monotonic() + 60
        while True:
            try:
                rayhpc.get_actor("lost")
            except ValueError:
                break
            assert time.monotonic() < deadline
        with pytest.raises(ValueError):
            rayhpc.get_actor("kept", namespace="other")
        rayhpc.kill(rayhpc.get_actor("kept"))
        """
    )


def test_what_belongs_to_a_cluster_that_was_left_says_so(run_program: Run) -> None:
    run_program(
        """
        import rayhpc
        from rayhpc.exceptions import RaySystemError, ObjectFreedError

        @rayhpc.remote
        def same(x):
            return x

        @rayhpc.remote
        class Counter:
            def count(self):
                return 1

        rayhpc.init(num_cpus=2)
        counter, ref = Counter.remote(), same.remote(1)
        kept = Counter.options(name="kept", lifetime="detached").remote()
        handles = [counter, kept, rayhpc.get_actor("kept")]
        rayhpc.get([ref, *[x.count.remote() for x in handles]])
        rayhpc.shutdown()
        rayhpc.init(num_cpus=2)
        attempts = [
            lambda: rayhpc.get(ref),
            lambda: rayhpc.wait([ref]),
            lambda: rayhpc.get(same.remote(ref)),
            *[lambda x=x: x.count.remote() for x in handles],
            *[lambda x=x: rayhpc.kill(x) for x in handles],
        ]
        for attempt in attempts:
            try:
                attempt()
            except (RaySystemError, ObjectFreedError) as error:
                continue
            raise AssertionError("nothing was said")
        assert rayhpc.get([same.remote(2), Counter.remote().count.remote()]) == [2, 1]
        """
    )


def test_sizes_as_programs_compute_them(run_program: Run) -> None:
    run_program(
        """
        import rayhpc
        from rayhpc.cluster_utils import Cluster
        rayhpc.init(num_cpus=2.0, num_gpus=0.0, object_store_memory=1e8, _memory=1e9)
        assert rayhpc.cluster_resources()["CPU"] == 2
        assert rayhpc.cluster_resources()["object_store_memory"] == 1e8
        rayhpc.shutdown()
        small = {"num_cpus": 1.0, "object_store_memory": 1e8}
        cluster = Cluster(initialize_head=True, head_node_args=small)
        cluster.add_node(num_cpus=2.0)
        rayhpc.init(cluster.address)
        cluster.wait_for_nodes()
        assert rayhpc.cluster_resources()["CPU"] == 3
        """
    )


def test_ray_address_counts_where_rayhpc_itself_is_called_ray(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAYHPC_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "10.1.2.3:4")
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    assert session_module._told_address() is None
    monkeypatch.setitem(sys.modules, "ray", rayhpc)
    assert session_module._told_address() == "10.1.2.3:4"
