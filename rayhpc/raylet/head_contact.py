"""How long a raylet goes on without the head.

Used by `node`.  A head that is gone may come back within moments (its node's supervisor starts it
again), and until then everything that needs no head goes on.  But if nothing is heard of it for
`HEAD_PATIENCE_S` it may be alive and have given this node's work to others, or be gone with its
machine: then the node ends.  The head relies on that (`head.endings`), so the time counts from when
this node sent the last heartbeat that was answered.
"""

from __future__ import annotations

from collections.abc import Callable

from rayhpc.wire.messages.cluster import HEAD_PATIENCE_S

# A raylet that was itself suspended (stopped, or its machine asleep) first reads what has arrived.
AWAY_S = 2.0
READ_FIRST_S = 0.5


class HeadContact:
    """What is known of the head's presence.

    Args:
        now: the time in seconds, monotonic.
        life: which life of the head the node has joined.
    """

    def __init__(self, now: Callable[[], float], life: int = 1) -> None:
        self._now = now
        self._life = life
        self._heard = now()
        self._turned = now()
        self._lost = ""

    def heard(self, sent: float) -> None:
        """The head has answered what was sent to it at that time.

        When the answer comes does not matter: it may have been under way for long, and what the
        head says without having been asked does not prove that it hears this node.
        """
        self._heard = max(self._heard, sent)
        self._lost = ""

    def rejoined(self, sent: float, life: int) -> str:
        """A head has taken the node back, as it asked at that time; says what had happened."""
        self.heard(sent)
        before, self._life = self._life, life
        if life == before:
            return "there is a connection to the head again"
        return f"the head has come back, for its life {life}"

    def lost(self, why: str) -> None:
        """The connection to the head has broken, or another one could not be made."""
        self._lost = self._lost or why

    def given_up(self, why: str) -> None:
        """Nobody starts the head again, for this reason."""
        self._lost = why

    def turned(self) -> None:
        """The raylet's loop has made a turn."""
        self._turned = self._now()

    def deadline(self) -> float:
        """When `verdict` must be asked for."""
        return self._heard + HEAD_PATIENCE_S

    def verdict(self) -> str:
        """Why the node must end (empty: it need not)."""
        now = self._now()
        if now - self._turned > AWAY_S:
            self._heard = max(self._heard, now - HEAD_PATIENCE_S + READ_FIRST_S)
        if now - self._heard < HEAD_PATIENCE_S:
            return ""
        if self._lost:
            return f"the head is lost and has not come back in {HEAD_PATIENCE_S:g} s: {self._lost}"
        return (
            f"nothing was heard of the head for {HEAD_PATIENCE_S:g} s: by now it has declared this "
            "node dead"
        )
