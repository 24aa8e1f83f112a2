"""How many machines are logged in to at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rayhpc.clusters.hosts import hosts_of
from rayhpc.clusters.launcher import LOGINS_PER_JUMP_HOST, Launcher
from rayhpc.clusters.machine import Machine
from rayhpc.clusters.plan import Found
from rayhpc.clusters.read import read
from rayhpc.clusters.record import RecordFolder


def test_a_jump_host_sees_at_most_so_many_logins_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 2 * LOGINS_PER_JUMP_HOST
    workers = ", ".join(f"h{number}" for number in range(1, count))
    file = read(
        f"cluster_name: c\nprovider: {{type: local, head_ip: h0, worker_ips: [{workers}]}}\n"
        "auth: {ssh_proxy_command: 'ssh -W %h:%p jump'}\n",
        "c.yaml",
    )
    together = threading.Barrier(LOGINS_PER_JUMP_HOST)
    now, most = 0, 0
    guard = threading.Lock()

    def log_in(_: Machine) -> None:
        nonlocal now, most
        with guard:
            now += 1
            most = max(most, now)
        together.wait(30)  # all that may be at it at once are
        with guard:
            now -= 1

    monkeypatch.setattr(Machine, "open", log_in)
    monkeypatch.setattr(Machine, "ask", lambda _: Found())
    folder = RecordFolder({"XDG_STATE_HOME": str(tmp_path)}, "c")
    with Launcher(file, hosts_of(file), folder, lambda *_: None) as launcher:
        assert len(launcher.ask_all()) == count
    assert most == LOGINS_PER_JUMP_HOST
