"""Programs that tests start beside themselves: `python -m tests.api.names.programs NAME ARGUMENT…`.

Each says what it finds by failing, or as one line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import rayhpc as ray
from rayhpc.launch import node_config, sessions
from rayhpc.launch.options import NodeOptions
from rayhpc.launch.spawn import NodeProcess
from tests.api.actors.counter import wait_for
from tests.api.names.naming import FAR, NEAR, Tally, here, where

MEBI = 2**20


def joins(session: str, far: str, near: str) -> None:
    """A driver on the far node: what `init` takes where there is a cluster already."""
    assert not ray.is_initialized()
    context = ray.init(
        session,
        namespace="of a program",
        runtime_env={"env_vars": {"OF_THE_JOB": "yes"}},
        logging_level="ERROR",
    )
    assert ray.is_initialized()
    assert here() == far
    assert context["node_id"] == context.address_info["node_id"] == far
    assert context["session_dir"] == session
    assert context.address_info["address"] == ray.get_runtime_context().gcs_address
    assert (context.dashboard_url, len(context) > 5) == ("", True)
    assert logging.getLogger("rayhpc").level == logging.ERROR
    assert ray.init(session, ignore_reinit_error=True) is context
    try:
        ray.init(session)
    except RuntimeError as error:
        assert "ignore_reinit_error" in str(error)
    else:
        raise AssertionError("a second init was taken")
    look = ray.remote(
        lambda: (
            os.environ.get("OF_THE_JOB"),
            ray.get_runtime_context().namespace,
            ray.is_initialized(),
            # In a worker too, an argument decides what a second init means.
            ray.init(ignore_reinit_error=True)["node_id"],
        )
    )
    assert ray.get(look.options(**NEAR).remote()) == ("yes", "of a program", True, near)
    Tally.options(name="kept", lifetime="detached", **NEAR).remote(4)
    lost = Tally.options(name="lost", **NEAR).remote()
    assert ray.get(ray.get_actor("kept").add.remote()) == 5
    assert ray.get(lost.node.remote()) == near
    with ray.init(session, ignore_reinit_error=True):
        pass
    assert not ray.is_initialized()
    ray.shutdown()


def finds(address: str) -> None:
    """The clusters that `init` finds by itself, one way after the other."""
    found = []
    for told in (address, ""):
        os.environ["RAYHPC_ADDRESS"] = told
        for asked in (None, "auto") if told else ("auto", address):
            with ray.init(asked):
                refs = [where.options(**x).remote() for x in (NEAR, FAR)]
                found.append([here(), *ray.get(refs, timeout=30)])
    print(json.dumps(found))


def prints(session: str) -> None:
    """Two jobs from the far node, whose tasks on the near one print; the first in silence."""
    shown = [_Shown(sys.stdout), _Shown(sys.stderr)]
    sys.stdout, sys.stderr = shown  # type: ignore[assignment]
    for name in ("unheard", "heard"):
        with ray.init(session, log_to_driver=name == "heard"):
            ray.get(speak.options(name=f"speaker of {name}", **NEAR).remote(name), timeout=30)
            if name == "heard":
                # What workers have printed takes a moment to come.
                wait_for(lambda: all("heard on" in x.text for x in shown))


class _Shown:
    """A stream that remembers what was written to it."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text = file, ""

    def write(self, text: str) -> int:
        """Note it, and write it."""
        self.text += text
        return self.file.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@ray.remote
def speak(text: str) -> None:
    """Says something on either stream."""
    print(f"{text} on stdout", flush=True)
    print(f"{text} on stderr", file=sys.stderr, flush=True)


def repeats(address: str) -> None:
    """The same line from two workers on each node; says where and as what they ran."""

    @ray.remote(num_cpus=1)
    class Speaker:
        def speak(self) -> tuple[int, str]:
            print(f"the same line of {os.getpid()}", flush=True)
            return os.getpid(), here()

    with ray.init(address):
        speakers = [Speaker.options(scheduling_strategy="SPREAD").remote() for _ in range(4)]
        found = ray.get([x.speak.remote() for x in speakers], timeout=30)
    print(json.dumps(found))


def sizes() -> None:
    """A cluster that `init` starts, with a second node that is too small for what is asked."""
    with _joinable() as join:
        context = ray.init(
            "local",
            num_cpus=3,
            num_gpus=1,
            memory=4096 * MEBI,
            object_store_memory=120 * MEBI,
            resources={"special": 2},
            labels={"zone": "first"},
        )
        second = join(context)
        first = here()
        rows = {x["NodeID"]: x for x in ray.nodes()}
        assert set(rows) == {first, second}
        has = rows[first]["Resources"]
        assert (has["CPU"], has["GPU"], has["special"]) == (3, 1, 2)
        assert has["object_store_memory"] == 120 * MEBI
        assert rows[first]["Labels"]["zone"] == "first"
        wanted: list[dict[str, Any]] = [
            {"num_cpus": 3},
            {"num_gpus": 1},
            {"memory": 2048 * MEBI},
            {"object_store_memory": 110 * MEBI},
            {"resources": {"special": 2}},
            {"label_selector": {"zone": "first"}},
        ]
        assert set(ray.get([_asks.remote(x) for x in wanted], timeout=40)) == {(second, first)}
        with ray.init(ignore_reinit_error=True):
            pass


@ray.remote(num_cpus=0, resources={"second": 0.01})
def _asks(options: dict[str, Any]) -> tuple[str, str]:
    """From the second node: where a task with such a demand runs."""
    return here(), ray.get(where.options(**options).remote(), timeout=30)


def first_call() -> None:
    """What is called before `init` starts a cluster; it is one like any other."""
    assert not ray.is_initialized()
    with _joinable() as join:
        ref = ray.put("before init")
        assert ray.is_initialized()
        second = join(ray.init(ignore_reinit_error=True))
        there = ray.remote(num_cpus=0, resources={"second": 0.01})(lambda x: (x, here()))
        assert ray.get(there.remote(ref), timeout=30) == ("before init", second)
        ray.shutdown()
    assert not ray.is_initialized()
    with _joinable() as join:
        # `init` without an address, and nothing in the environment, starts one as well.
        second = join(ray.init(num_cpus=1))
        assert ray.get(there.remote(1), timeout=30) == (1, second)
        ray.shutdown()


def as_ray(session: str, near: str) -> None:
    """Names of Ray's own modules, from the far node about the near one."""
    import ray as imported  # type: ignore[import-not-found]
    import ray.autoscaler.sdk  # type: ignore[import-not-found]
    import ray.experimental.state.api  # type: ignore[import-not-found]
    from ray._private import services, state  # type: ignore[import-not-found]

    imported.init(address=session)
    actor = Tally.options(**NEAR).remote()
    assert imported.get(actor.node.remote()) == near
    assert state.actors(actor._actor_id.hex())["Address"]["NodeID"] == near
    row = imported.experimental.state.api.get_actor(actor._actor_id.hex())
    assert row["node_id"] == near
    free = state.available_resources_per_node()
    assert set(free) == {x["NodeID"] for x in imported.nodes() if x["Alive"]}
    assert free[near]["near"] < 1
    group = imported.util.placement_group([{"CPU": 1, "near": 0.001}])
    assert group.wait(30)
    table = state.state.placement_group_table(group.id)
    assert table["bundles_to_node_id"] == {0: near}
    ask = imported.remote(services.get_node_ip_address)
    ips = {x["NodeID"]: x["NodeManagerAddress"] for x in imported.nodes()}
    assert imported.get(ask.options(**NEAR).remote()) == ips[near]
    # An allocation does not grow: that is said, on any node.
    grow = imported.remote(lambda: imported.autoscaler.sdk.request_resources(num_cpus=1))
    assert imported.get(grow.options(**NEAR).remote()) is None


@contextmanager
def _joinable() -> Iterator[Any]:
    """Lets a second node join the cluster that `init` makes, which has its key to itself."""
    made: list[Any] = []
    new_cluster = node_config.new_cluster
    second = NodeProcess()

    def noted() -> Any:
        made.append(new_cluster())
        return made[-1]

    def join(context: Any) -> str:
        key = sessions.find(context["session_dir"]).completed(made[0].key)
        options = NodeOptions(
            num_cpus=1,
            num_gpus=0,
            memory=1024 * MEBI,
            object_store_memory=80 * MEBI,
            resources={"second": 1},
            node_ip="127.0.0.2",
        )
        place = node_config.look_around(os.environ, rank=0, size=1)
        second.send(node_config.make_plan(place, options, key, kind="embedded", rank=1))
        return second.wait_ready().node_id

    node_config.new_cluster = noted
    try:
        yield join
    finally:
        node_config.new_cluster = new_cluster
        second.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
