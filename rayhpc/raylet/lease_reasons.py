"""Why a request for a worker waits, in words.

Used by `leases`, for its submitter.  Pure functions of what the node knows.
"""

from __future__ import annotations

from rayhpc.raylet import scheduling
from rayhpc.raylet.bundles import ReservedBundles
from rayhpc.raylet.lease_records import PendingLease
from rayhpc.raylet.resources import Pool
from rayhpc.raylet.view import ClusterView
from rayhpc.wire.feasibility import in_words, lasts, too_short
from rayhpc.wire.messages import actors


def why_for_ever(
    request: PendingLease, view: ClusterView, bundles: ReservedBundles, at: float
) -> str:
    """Why it may wait forever; empty: it need not.  `at` is the time since 1970."""
    if request.wanted.strategy.kind == "group":
        return _why_in_group(request, view, bundles, at)
    choice = scheduling.choose(request.wanted, view, scheduling.Here(at=at), 0)
    return f"Tasks of this program wait: {choice.text}." if choice.text else ""


def _why_in_group(
    request: PendingLease, view: ClusterView, known: ReservedBundles, at: float
) -> str:
    strategy = request.wanted.strategy
    state = known.state_of(strategy.group)
    if state is None or state.state != actors.GROUP_CREATED:
        return state.text if state is not None else ""
    which = slice(None) if strategy.bundle < 0 else slice(strategy.bundle, strategy.bundle + 1)
    bundles = state.bundles[which]
    able = {
        number
        for number, bundle in zip(state.nodes[which], bundles, strict=True)
        if Pool(bundle).could_ever(request.resources)
    }
    if able:
        infos = [x.info for number, x in view.nodes.items() if number in able]
        is_enough = (lasts(x.labels, strategy.seconds, at) for x in infos)
        if not strategy.seconds or not infos or any(is_enough):
            return ""
        text = too_short(infos, request.resources, strategy)
        return f"Tasks of this program wait: in their placement group {text}."
    return (
        f"No bundle of the placement group can ever meet the demand of "
        f"{in_words(request.resources)}: they have "
        f"{'; '.join(in_words(x) for x in bundles)}. Ask for less, or make larger bundles."
    )
