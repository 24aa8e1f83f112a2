"""What a rented machine runs, so that it ends when nobody needs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rayhpc.providers.watch import watch_script


@pytest.mark.parametrize("lives", [False, True])
def test_a_machine_ends_when_no_node_has_run_there_for_a_while(tmp_path: Path, lives: bool) -> None:
    home, session = tmp_path / "home", tmp_path / "session"
    folder = home / ".local/state/rayhpc/clusters/c/machines"
    for each in (folder, session, tmp_path / "bin"):
        each.mkdir(parents=True)
    (folder / "m.session").write_text(str(session))
    ended = tmp_path / "ended"
    shutdown = tmp_path / "bin/shutdown"
    shutdown.write_text(f"#!/bin/sh\necho $* >{ended}\nkill $PPID\n")
    shutdown.chmod(0o755)
    text = watch_script("c", 0.01, looks=2, first=3, homes=str(home))
    environ = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    lock = session / "lock"
    lock.touch()
    holder = ["flock", "-x", str(lock), "-c", "echo held; read line"]
    pipe = subprocess.PIPE
    with subprocess.Popen(holder, stdin=pipe, stdout=pipe, text=True) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        assert node.stdout.readline() == "held\n"
        if not lives:
            node.communicate("\n")
        with subprocess.Popen(["sh", "-c", text], env=environ) as watch:
            if lives:
                with pytest.raises(subprocess.TimeoutExpired):
                    watch.wait(0.3)
                assert not ended.exists()
                node.communicate("\n")
            assert watch.wait(60) != 0
    assert ended.read_text() == "-h now\n"
