"""How many machines are logged in to at once."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from rayhpc.clusters.hosts import hosts_of
from rayhpc.clusters.launcher import LOGINS_PER_JUMP_HOST, Launcher
from rayhpc.clusters.machine import Machine
from rayhpc.clusters.plan import Found
from rayhpc.clusters.read import read
from rayhpc.clusters.record import RecordFolder
from rayhpc.clusters.renting import host_of
from rayhpc.elastic.types import MachineState
from rayhpc.providers.machines import Rented


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


def test_where_the_head_alone_is_outside_the_others_are_reached_through_it(tmp_path: Path) -> None:
    file = read(
        "cluster_name: c\nprovider: {type: gcp, use_internal_ips: true, "
        "use_external_head_ip: true}\nauth: {ssh_user: me, ssh_private_key: '/k 100%'}\n",
        "c.yaml",
    )
    machines = [
        Rented(name, "w", MachineState.RUNNING, inside, login=login, identity=name)
        for name, inside, login in (("head-1", "10.0.0.1", "203.0.113.1"), ("w-1", "10.0.0.2", ""))
    ]
    hosts = [host_of(each, file.config, file.config.auth) for each in machines]
    folder = RecordFolder({"XDG_STATE_HOME": str(tmp_path)}, "c")
    with Launcher(file, hosts, folder, lambda *_: None) as launcher:
        head, worker = (each.connection.login for each in launcher.machines)
    assert (head.host, head.proxy_command) == ("203.0.113.1", None)
    assert worker.host == "10.0.0.2"
    words = worker.words()
    words[1:1] = ["-G"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    (through,) = (x for x in shown.splitlines() if x.startswith("proxycommand "))
    assert through.startswith("proxycommand ssh -W %h:%p ")
    assert through.endswith(" -l me -- 203.0.113.1")
    assert "HostKeyAlias=head-1" in through
    assert "/k 100%%" in through
