"""Counting and keeping: what each end of a line sends again, for any interleaving and any loss."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rayhpc.wire import codec, messages
from rayhpc.wire.messages import cluster
from rayhpc.wire.numbered import PASSING, Numbered, is_passing
from tests.wire import fuzzing


@given(fuzzing.messages([*messages.HEAD_TAKES, *messages.RAYLET_TAKES]))
def test_a_frame_tells_whether_it_counts(message: object) -> None:
    frame = codec.encode(1, 2, message)  # type: ignore[arg-type]
    assert codec.kind_of(frame) == type(message).__struct_config__.tag  # type: ignore[attr-defined]
    assert is_passing(frame) == isinstance(message, PASSING)


@given(st.binary(max_size=24))
def test_no_frame_is_too_short_or_too_odd_to_tell(frame: bytes) -> None:
    assert isinstance(is_passing(frame), bool)


def test_what_never_counts() -> None:
    assert is_passing(codec.encode(1, 2, cluster.HeadAlive(3)))
    assert not is_passing(codec.encode(1, 2, cluster.GetJob(3)))


@given(st.lists(st.sampled_from(["send", "confirm", "break", "break after"]), max_size=60))
def test_each_frame_arrives_once_and_in_order(steps: list[str]) -> None:
    here: Numbered[int] = Numbered()
    there: list[int] = []
    under_way: list[int] = []
    for step in steps:
        if step == "send":
            here.keep(here.sent + 1)
            under_way.append(here.sent)
        elif step == "confirm":
            there += under_way
            under_way = []
            here.confirm(len(there))
        else:
            # The connection takes what is under way with it, or half of that.
            arrived = len(under_way) // 2 if step == "break" else len(under_way)
            there += under_way[:arrived]
            under_way = here.missing(len(there))
    there += under_way
    assert there == list(range(1, here.sent + 1))
