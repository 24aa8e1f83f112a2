"""One-time tokens: traded once, in time, from the machine's own address."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pytest

from rayhpc.wire import join_tokens, keys
from rayhpc.wire.join_tokens import TOKEN_S, TokenError, TokenServer, redeem
from rayhpc.wire.keys import ClusterKey, new_cluster_id, new_key_pair

HERE = "127.0.0.1"


class Place:
    """Knows which machine is where, and what time it is."""

    def __init__(self) -> None:
        self.key = ClusterKey(new_cluster_id(), new_key_pair(), new_key_pair().public, [(HERE, 1)])
        self.addresses: dict[str, Collection[str]] = {"worker-1": [HERE]}
        self.asked = 0
        self.time = 0.0
        self.server = TokenServer(self.key, [HERE], self.look, lambda: self.time)

    def look(self, machine: str) -> Collection[str] | None:
        self.asked += 1
        return self.addresses.get(machine)


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.server.close()


def test_a_token_is_good_for_the_key_once(place: Place) -> None:
    written = join_tokens.encode(place.server.issue("worker-1"))
    assert place.key.node.secret not in written
    token = join_tokens.decode(written, "a test")
    assert redeem(token) == place.key
    with pytest.raises(TokenError, match="has been used"):
        redeem(token)


def test_once_for_all_tokens_of_a_machine(place: Place) -> None:
    first, second = place.server.issue("worker-1"), place.server.issue("worker-1")
    assert redeem(second) == place.key
    with pytest.raises(TokenError, match="has been used"):
        redeem(first)


def test_not_from_another_address(place: Place) -> None:
    place.addresses["worker-1"] = ["10.1.2.3"]
    with pytest.raises(TokenError, match=r"127\.0\.0\.1, which is not an address of worker-1"):
        redeem(place.server.issue("worker-1"))


def test_not_after_fifteen_minutes(place: Place) -> None:
    token = place.server.issue("worker-1")
    place.time += TOKEN_S
    with pytest.raises(TokenError, match="too old"):
        redeem(token)


def test_waits_until_the_address_is_known(place: Place) -> None:
    place.addresses.clear()
    known = place.look

    def later(machine: str) -> Collection[str] | None:
        found = known(machine)
        place.addresses[machine] = [f"::ffff:{HERE}"]
        return found

    place.server._addresses = later
    assert redeem(place.server.issue("worker-1")) == place.key
    assert place.asked == 2


def test_whoever_is_told_to_end_asks_no_longer(place: Place) -> None:
    def for_an_answer(seconds: float, *descriptors: int) -> None:
        assert descriptors
        raise InterruptedError

    def before_it_asks_again(seconds: float, *descriptors: int) -> None:
        if not descriptors:
            raise InterruptedError
        join_tokens.pause(seconds, *descriptors)

    token = place.server.issue("worker-2")
    for told in (for_an_answer, before_it_asks_again):
        with pytest.raises(InterruptedError):
            redeem(token, wait=told)


def test_another_machines_token_says_so(place: Place) -> None:
    token = place.server.issue("worker-1")
    stolen = join_tokens.JoinToken("worker-2", token.client, token.server, token.endpoints)
    with pytest.raises(TokenError, match="another machine"):
        redeem(stolen)


def test_a_stranger_gets_no_answer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_tokens, "_ANSWER_S", 0.3)
    token = place.server.issue("worker-1")
    forged = join_tokens.JoinToken("worker-1", keys.new_key_pair(), token.server, token.endpoints)
    with pytest.raises(TokenError, match=r"nobody answers at 127\.0\.0\.1:"):
        redeem(forged, within_s=0)
    assert place.asked == 0


def test_a_token_is_not_shown(place: Place) -> None:
    token = place.server.issue("worker-1")
    assert token.client.secret.decode() not in repr(token)


def test_what_is_no_token() -> None:
    with pytest.raises(TokenError, match="a file holds no join token"):
        join_tokens.decode(b"{}", "a file")
