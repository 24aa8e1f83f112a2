"""A loop's turns in a thread of their own, one after the other until they are to end.

Used by `launch.elastic`.  Decides nothing: how long to wait between two turns, the loop says.
"""

from __future__ import annotations

import threading

from rayhpc.elastic.loop import Loop
from rayhpc.exit_codes import LaunchError

# The head may be started again; whether the cluster is over is for rank 0 to say.
_WITHOUT_HEAD_S = 1.0
# A place may take half a minute to answer, and whoever is told to end is killed sooner.
_END_S = 2.0


class Turns:
    """The thread, which starts at once.

    Args:
        loop: whose turns.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="growing", daemon=True)
        self._thread.start()

    def end(self, within_s: float = _END_S) -> bool:
        """No turn begins any more; a turn in progress asks for nothing more.

        Args:
            within_s: how long to wait for that one, in seconds.

        Returns:
            False: it still waits for an answer.
        """
        self._stop.set()
        self._loop.stop()
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                pause = self._loop.turn()
            except LaunchError:
                pause = _WITHOUT_HEAD_S
