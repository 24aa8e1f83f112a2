"""Why a request for a worker waits, in words.

Used by `leases`, for its submitter.  Pure functions of what the node knows.
"""

from __future__ import annotations

from rayhpc.raylet import scheduling
from rayhpc.raylet.bundles import ReservedBundles
from rayhpc.raylet.lease_records import PendingLease
from rayhpc.raylet.resources import Pool
from rayhpc.raylet.view import ClusterView
from rayhpc.wire.feasibility import in_words
from rayhpc.wire.messages import actors


def why_for_ever(request: PendingLease, view: ClusterView, bundles: ReservedBundles) -> str:
    """Why it may wait forever; empty: it need not."""
    if request.wanted.strategy.kind == "group":
        return _why_in_group(request, bundles)
    choice = scheduling.choose(request.wanted, view, scheduling.Here(), 0)
    return f"Tasks of this program wait: {choice.text}." if choice.text else ""


def _why_in_group(request: PendingLease, known: ReservedBundles) -> str:
    strategy = request.wanted.strategy
    state = known.state_of(strategy.group)
    if state is None or state.state != actors.GROUP_CREATED:
        return state.text if state is not None else ""
    bundles = state.bundles if strategy.bundle < 0 else [state.bundles[strategy.bundle]]
    if any(Pool(x).could_ever(request.resources) for x in bundles):
        return ""
    return (
        f"No bundle of the placement group can ever meet the demand of "
        f"{in_words(request.resources)}: they have "
        f"{'; '.join(in_words(x) for x in bundles)}. Ask for less, or make larger bundles."
    )
