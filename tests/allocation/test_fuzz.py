"""Any text in the variables of launchers: facts, or an error that names the variable."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rayhpc.allocation import explicit, mpi, plain
from rayhpc.machine.facts import read_machine

MACHINE = read_machine({})
NAMES = [name for flavour in mpi._FLAVOURS for name in vars(flavour).values()]
NAMES.append("RAYHPC_END_TIME")
texts = st.text(max_size=12) | st.integers(-3, 5).map(str) | st.sampled_from(["9" * 5000, "\u00b2"])


@given(st.dictionaries(st.sampled_from([*NAMES, "RAYHPC_JOB_ID"]), texts, max_size=6))
@settings(max_examples=300, deadline=None)
def test_whatever_a_launcher_says(environ: dict[str, str]) -> None:
    try:
        found = mpi.overlay(plain.read(environ, MACHINE), environ)
    except ValueError as error:
        assert any(name in str(error) for name in NAMES)
    else:
        assert isinstance(found.rank.value, int)


@given(st.integers() | st.none(), st.integers() | st.none())
def test_whatever_the_user_says(rank: int | None, size: int | None) -> None:
    try:
        explicit.overlay(plain.read({}, MACHINE), rank, size)
    except ValueError as error:
        assert "rank" in str(error) or "size" in str(error)
