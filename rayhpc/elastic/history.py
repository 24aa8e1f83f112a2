"""How many nodes there were, and how much waited, over time: kept small however long it gets.

Used by `loop`, which leaves it with the head for `rayhpc timeline --cluster`.
"""

from __future__ import annotations

from rayhpc.wire.messages.elastic import Moment

# When there are so many, every second one of the older half is dropped.
_MOST = 1000


class History:
    """The moments so far, oldest first; `moments` may go on from what another loop has left."""

    def __init__(self, moments: list[Moment]) -> None:
        self.moments = moments

    def note(self, moment: Moment) -> bool:
        """Keep a moment, unless nothing has changed; returns whether it was kept."""
        if self.moments and self.moments[-1].figures() == moment.figures():
            return False
        self.moments.append(moment)
        if len(self.moments) > _MOST:
            half = len(self.moments) // 2
            self.moments = self.moments[:half:2] + self.moments[half:]
        return True
