"""What a stranger of the same uid can open of our processes: with the memory hidden, nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.security.plain_root import be_a_plain_user

_OURS = """
import os, sys
from rayhpc.machine.shared_uid import hide_memory
file = os.memfd_create("arena")
if sys.argv[1] == "hidden":
    hide_memory()
os.stat(f"/proc/self/fd/{file}")
if child := os.fork():
    os.waitpid(child, 0)
else:
    print(os.getpid(), file, flush=True)
    input()
"""
_STRANGER = """
import sys
for name in ("mem", "fd/" + sys.argv[2]):
    try:
        open(f"/proc/{sys.argv[1]}/{name}", "rb").close()
        print("opened", name)
    except PermissionError:
        print("no", name)
"""


@pytest.mark.parametrize("how", ["open", "hidden"])
def test_memory_and_descriptors_are_closed_to_others_of_the_uid(how: str) -> None:
    ours = subprocess.Popen(
        [sys.executable, "-c", _OURS, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=be_a_plain_user,  # noqa: PLW1509
    )
    with ours:
        assert ours.stdout is not None
        words = ours.stdout.readline().split()
        done = subprocess.run(
            [sys.executable, "-I", "-c", _STRANGER, *words],
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=be_a_plain_user,
        )
    said = done.stdout.splitlines()
    assert len(said) == 2
    assert all(line.startswith("no " if how == "hidden" else "opened ") for line in said), said
