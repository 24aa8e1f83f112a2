"""The shell function that starts the ranks of Grid Engine and PBS jobs, in a shell of its own."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

STEP = Path(__file__).parents[2] / "templates" / "common" / "step.sh"
# The queue's `notify` on the lab.
NOTIFY_S = 8.0
SCRIPT = f"""
. {STEP}
elsewhere() {{ exec sleep 60; }}  # a host without power: nothing there ends
declare -A slots_of=([here]=1 [there]=1)
order=(here there)
start_ranks bash -c 'echo up; exec sleep 60'
"""


def test_a_host_that_is_gone_is_not_waited_for_beyond_the_notice() -> None:
    """Else the job is killed before it could say how it ended."""
    script = subprocess.Popen(["bash", "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    assert script.stdout is not None
    assert script.stdout.readline() == "up\n"
    script.send_signal(signal.SIGUSR2)
    script.communicate(timeout=NOTIFY_S)
    assert script.returncode == 128 + signal.SIGTERM
