"""A handful of generated programs; many more are run by `python -m tests.programs.run`."""

from __future__ import annotations

import pytest

from tests.programs import plain
from tests.programs.generate import program
from tests.programs.run import run


@pytest.mark.parametrize(("first", "fresh"), [(1, False), (500, True)])
def test_programs_give_their_answer(first: int, fresh: bool) -> None:
    report = run(first, 5, nodes=2, fresh=fresh)
    assert report.is_good, str(report)


def test_a_seed_makes_one_program_with_one_answer() -> None:
    for seed in range(8):
        assert program(seed) == program(seed)
        answers = []
        for _ in range(2):
            state = plain.Plain()
            state.run(program(seed).steps)
            answers.append(repr(sorted(state.slots.items(), key=lambda item: item[0])))
        assert answers[0] == answers[1]
