"""Tokens for the machines of a growing cluster: their provider says from where they are good."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from rayhpc.launch.machine_tokens import MachineTokens
from rayhpc.wire import join_tokens
from rayhpc.wire.join_tokens import TokenError, redeem
from rayhpc.wire.keys import ClusterKey, new_cluster_id, new_key_pair


class Place:
    """Knows where one machine is."""

    def addresses(self, name: str) -> Collection[str] | None:
        return {"127.0.0.1"} if name == "worker-1" else {"10.9.9.9"}


def test_a_machine_gets_the_key_from_where_its_provider_says_it_is() -> None:
    key = ClusterKey(new_cluster_id(), new_key_pair(), new_key_pair().public, [("127.0.0.1", 1)])
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
