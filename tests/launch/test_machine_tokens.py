"""Tokens for the machines of a growing cluster: their provider says from where they are good."""

from __future__ import annotations

import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import start_stop
from rayhpc.launch.machine_tokens import MachineTokens
from rayhpc.launch.start_stop import StartOptions
from rayhpc.machine.signals import Signals
from rayhpc.wire import join_tokens
from rayhpc.wire.join_tokens import TokenError, redeem
from rayhpc.wire.keys import ClusterKey, new_cluster_id, new_key_pair


def _key() -> ClusterKey:
    return ClusterKey(new_cluster_id(), new_key_pair(), new_key_pair().public, [("127.0.0.1", 1)])


class Place:
    """Knows where one machine is."""

    def addresses(self, name: str) -> Collection[str] | None:
        return {"127.0.0.1"} if name == "worker-1" else {"10.9.9.9"}


def test_a_node_that_waits_for_its_key_ends_when_it_is_told_to(tmp_path: Path) -> None:
    tokens, path = MachineTokens(_key(), "127.0.0.1:6379"), tmp_path / "token"
    path.write_bytes(tokens.issue("worker-1"))
    options = StartOptions(address="127.0.0.1:6379", join_token=str(path), block=True)
    try:
        with Signals() as signals:
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(LaunchError, match="by SIGTERM") as caught:
                start_stop.join(options, {}, signals)
    finally:
        tokens.close()
    assert caught.value.code == ExitCode.CANCELLED


def test_a_machine_gets_the_key_from_where_its_provider_says_it_is() -> None:
    key = _key()
    tokens = MachineTokens(key, "127.0.0.1:6379")
    first, second = (
        join_tokens.decode(tokens.issue(name), "a test") for name in ("worker-1", "worker-2")
    )
    try:
        with pytest.raises(TokenError, match="the address of worker-1 is not known yet"):
            redeem(first, within_s=0)
        place: Any = Place()
        tokens.serve_for(place)
        assert redeem(first) == key
        with pytest.raises(TokenError, match="not an address of worker-2"):
            redeem(second)
    finally:
        tokens.close()
