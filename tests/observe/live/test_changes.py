"""Applied to the first view, the changes make the second, whatever has changed."""

from __future__ import annotations

import random

from rayhpc.observe.live.changes import applied, changes
from rayhpc.observe.live.now import KEYS, now
from tests.observe.generator import Made
from tests.observe.live.looks import actor_row, look_of


def test_any_view_follows_from_any_other() -> None:
    chance = random.Random(3)
    before = now(look_of(Made()))
    for _ in range(30):
        made = Made(nodes=chance.randint(1, 4))
        for i in range(chance.randint(0, 20)):
            made.run(f"f{chance.randint(0, 5)}", i * 1.0, chance.random())
        many = chance.randint(0, 4)
        actors = [actor_row(bytes([i]) * 16, "A", pid=chance.randint(1, 2)) for i in range(many)]
        chance.shuffle(actors)
        after = now(look_of(made, actors))
        assert applied(before, changes(before, after, KEYS), KEYS) == after
        before = after


def test_only_what_has_changed_is_told() -> None:
    made = Made(nodes=50)
    made.run("f", 0.0, 1.0)
    first = now(look_of(made))
    made.run("g", 0.0, 0.5)
    second = now(look_of(made))
    told = changes(first, second, KEYS)
    assert set(told.parts) == {"cluster"}
    assert set(told.rows) == {"functions"}
    assert [x.name for x in told.rows["functions"].rows] == ["g"]
    nothing = changes(second, second, KEYS)
    assert (nothing.parts, nothing.rows) == ({}, {})
    whole = changes(None, second, KEYS)
    assert set(whole.parts) == set(second.__struct_fields__)
