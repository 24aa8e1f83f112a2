"""Where each thread of this process is now, for whoever asks from outside.

Used by `core`, in the thread that does the process's I/O: a thread that holds the GIL in compiled
code keeps this from being answered.
"""

from __future__ import annotations

import sys
import threading
import traceback

from rayhpc.wire.messages.looking import ThreadStack

_FRAMES_MOST = 100


def stacks() -> list[ThreadStack]:
    """All threads; the main one first."""
    names = {x.ident: x.name for x in threading.enumerate()}
    main = threading.main_thread().ident
    found = sorted(sys._current_frames().items(), key=lambda x: x[0] != main)
    return [
        ThreadStack(
            names.get(ident, f"thread {ident}"),
            "".join(traceback.format_list(traceback.extract_stack(frame, _FRAMES_MOST))),
        )
        for ident, frame in found
        if ident != threading.get_ident() or ident == main
    ]
