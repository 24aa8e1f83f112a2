"""A lab's life: up, down, and what can happen to its hosts.

Used by the command line beside it and by tests.  A hub is a network namespace with a bridge: there
commands run that are to reach the hosts (`command`).  Each host is a namespace of its own on that
bridge, with its own network, host name, processes, home directory and sshd.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ssh.lab import packages
from ssh.lab.errors import LabError
from ssh.lab.processes import Process

USER = "hpc"
_NET = "10.88.0"
_STATE = "state.json"
_READY_S = 20.0
_HOST = Path(__file__).with_name("host.sh")


class Lab:
    """Hosts h1 … hN, 10.88.0.1 … N, and others that are added under names and addresses of theirs.

    Args:
        folder: the lab's own, private.
        hub: the process that keeps the hub.
        hosts: the process that is each host: its end is a power cut.
        addresses: of each host, with the length of its network's prefix.
    """

    def __init__(
        self,
        folder: Path,
        hub: Process,
        hosts: dict[str, Process],
        addresses: dict[str, list[str]],
        tied: bool,
    ) -> None:
        self.folder = folder
        self._hub = hub
        self._hosts = hosts
        self._addresses = addresses
        self._tied = tied

    @classmethod
    def up(cls, count: int, folder: Path | None = None, *, tied: bool = True) -> Lab:
        """Start it and wait until every host lets its user in.

        Args:
            count: how many hosts.
            folder: a new folder for it; None: one in the cache.
            tied: it ends when the calling process does.

        Raises:
            LabError: something is missing, or did not come up in time.
        """
        reason = packages.why_not()
        if reason:
            raise LabError(reason)
        if folder is None:
            packages.cache().mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="lab-", dir=packages.cache()))
        folder.mkdir(mode=0o700, exist_ok=True)
        _keygen(folder / "key")
        hub = _start_hub(tied, folder)
        lab = cls(folder, hub, {}, {}, tied)
        try:
            # Without one of its own a bridge changes its hardware address when ports come and go,
            # and nobody reaches it until the neighbours' entries are stale.
            bridge = "ip link add br0 address 02:00:00:00:00:fe type bridge"
            lab.in_hub(f"ip link set lo up; {bridge}; ip link set br0 up")
            lab.in_hub(f"ip addr add {_NET}.254/24 dev br0")
            for number in range(1, count + 1):
                lab.add(f"h{number}", [f"{_NET}.{number}/24"])
            for name in lab.names:
                lab.wait_for(name)
            lab._save()
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def load(cls, folder: Path, *, tied: bool = False) -> Lab:
        """A lab that another process has started.

        Args:
            folder: its own.
            tied: hosts that are added here end when the calling process does.

        Raises:
            LabError: there is none.
        """
        try:
            state = json.loads((folder / _STATE).read_text())
        except FileNotFoundError:
            raise LabError(f"no lab in {folder}: start one with `up`") from None
        hosts = {name: Process(*each) for name, each in state["hosts"].items()}
        return cls(folder, Process(*state["hub"]), hosts, state["addresses"], tied)

    @property
    def names(self) -> list[str]:
        """The hosts."""
        return list(self._hosts)

    @property
    def key(self) -> Path:
        """The private key that every host lets in."""
        return self.folder / "key"

    def address(self, name: str) -> str:
        """A host's address."""
        return self._addresses[name][0].partition("/")[0]

    def home(self, name: str) -> Path:
        """A host's home directory, as this machine sees it."""
        return self.folder / name / "home"

    def alive(self, name: str) -> bool:
        """Whether a host is on."""
        return self._hosts[name].alive

    def command(self, words: Sequence[str]) -> list[str]:
        """The command that runs `words` where the hosts can be reached."""
        return ["nsenter", f"--net=/proc/{self._hub.pid}/ns/net", "--", *words]

    def in_hub(self, script: str) -> None:
        """Run a shell script in the hub.  Raises LabError if it fails."""
        _check(self.command(["sh", "-ec", script]))

    def inside(self, name: str, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script on a host, as root, without ssh."""
        inner = self._inside_pid(name)
        command = ["nsenter", "-t", str(inner), "-n", "-u", "-m", "-p", "bash", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    def processes(self, name: str) -> list[str]:
        """The command lines on a host, but for its sshd and the one that lists them."""
        if not self.alive(name):
            return []
        script = 'for d in /proc/[0-9]*; do tr "\\0" " " <$d/cmdline; echo; done'
        lines = [x.strip() for x in self.inside(name, script).stdout.splitlines() if x.strip()]
        own = ("sshd", "bash -c for d in", "tr ", "/proc/self", "nsenter ")
        return [x for x in lines if not x.startswith(own) and "/sshd" not in x.split()[0]]

    def add(
        self,
        name: str,
        addresses: Sequence[str],
        user: str = USER,
        public_key: str | None = None,
    ) -> None:
        """Make another host and switch it on.

        Args:
            name: at most eight characters.
            addresses: with the length of their networks' prefixes; the first tells it from others.
                With 32 as that, every other address is looked for on the bridge.
            user: who may log in.
            public_key: with which key; None: the lab's own.
        """
        self._addresses[name] = list(addresses)
        key = public_key if public_key is not None else (self.folder / "key.pub").read_text()
        self._make_host(name, user, key)
        self.boot(name)

    def boot(self, name: str) -> None:
        """Switch a host on."""
        server = packages.server()
        environment = {
            "SSHD": str(server.program),
            "LIBRARIES": ":".join(str(each) for each in server.libraries),
            "HOST_DIR": str(self.folder / name),
            "HOST_NAME": name,
        }
        words = ["unshare", "--net", "--uts", "--ipc", "--mount", "--pid", "--fork"]
        words += ["--kill-child", "--mount-proc", "bash", str(_HOST)]
        log = self.folder / name / "log"
        self._hosts[name] = _start(words, self._tied, log, environment)
        self._plug_in(name)
        self._save()

    def power_off(self, name: str) -> None:
        """Everything on a host dies at once."""
        self._hosts[name].kill()
        # The kernel takes its cable away a little later: it would take the next one's.
        self.in_hub(f"ip link del {name} 2>/dev/null || true")

    def cut(self, name: str) -> None:
        """Pull a host's cable: it runs on and hears nothing."""
        self.in_hub(f"ip link set {name} down")

    def join(self, name: str) -> None:
        """Plug it in again."""
        self.in_hub(f"ip link set {name} up")

    def new_host_key(self, name: str) -> None:
        """As if it were reinstalled; it is switched off and on."""
        self.power_off(name)
        _keygen(self.folder / name / "host_key")
        self.boot(name)
        self.wait_for(name)

    def wait_for(self, name: str) -> None:
        """Wait until a host lets its user in.  Raises LabError."""
        deadline = time.monotonic() + _READY_S
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
        words = ["ssh", "-F", "none", "-i", str(self.key), "-l", USER, "-o", "ConnectTimeout=2"]
        words += [word for option in options for word in ("-o", option)]
        command = self.command([*words, self.address(name), "true"])
        while True:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            if time.monotonic() > deadline or not self.alive(name):
                log = (self.folder / name / "log").read_text()[-2000:]
                raise LabError(f"{name} lets nobody in: {done.stderr.strip()}\n{log}")
            time.sleep(0.05)  # sshd says when it listens in its log alone

    def down(self) -> None:
        """End it all, by pid, and remove its folder."""
        for process in (*self._hosts.values(), self._hub):
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_host(self, name: str, who: str, key: str) -> None:
        folder = self.folder / name
        for each in (folder, folder / "home", folder / "tmp"):
            each.mkdir(mode=0o700)
        _keygen(folder / "host_key")
        others = Path("/etc/passwd").read_text()
        (folder / "authorized_keys").write_text(key)
        user = f"{who}:x:0:0::{folder}/home:/bin/bash\n"
        sshd = "sshd:x:64999:65534::/run/sshd:/usr/sbin/nologin\n"
        rest = "".join(x for x in others.splitlines(True) if not x.startswith(("sshd:", f"{who}:")))
        (folder / "passwd").write_text(user + sshd + rest)
        (folder / "banner").write_text("")
        (folder / "sshd_config").write_text(
            f"HostKey {folder}/host_key\n"
            f"AuthorizedKeysFile {folder}/authorized_keys {folder}/home/.ssh/authorized_keys\n"
            f"Banner {folder}/banner\n"
            f"SetEnv RAYHPC_TMPDIR={folder}/tmp\n"
            "PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "StrictModes no\nUsePAM no\nPidFile none\nUseDNS no\nPrintMotd no\n"
        )

    def _plug_in(self, name: str) -> None:
        pid = self._inside_pid(name)
        # The same hardware address at each start: neighbours remember it.
        octets = self.address(name).split(".")
        mac = ":".join(["02", "00", *(f"{int(octet):02x}" for octet in octets)])
        self.in_hub(
            f"ip link add {name} type veth peer name eth0 address {mac} netns {pid}; "
            f"ip link set {name} master br0 up"
        )
        addresses = self._addresses[name]
        script = "; ".join(f"ip addr add {each} dev eth0" for each in addresses)
        script = f"ip link set lo up; {script}; ip link set eth0 up"
        if addresses[0].endswith("/32"):
            script += "; ip route add default dev eth0"
        words = ["nsenter", "-t", str(pid), "-n", "sh", "-ec", script]
        _check(words)

    def _inside_pid(self, name: str) -> int:
        """The process that is number 1 on a host: the only child of its `unshare`."""
        pid = self._hosts[name].pid
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if children:
                return int(children[0])
            time.sleep(0.005)  # it is about to fork
        raise LabError(f"{name} did not start")

    def _save(self) -> None:
        state = {"hub": self._hub, "hosts": self._hosts, "addresses": self._addresses}
        whole = self.folder / f"{_STATE}.new"
        whole.write_text(json.dumps(state))
        whole.replace(self.folder / _STATE)


def _start(
    words: list[str], tied: bool, log: Path, environment: dict[str, str] | None = None
) -> Process:
    """Start a process in a session of its own; `tied`: the kernel kills it when we end."""
    command = ["setpriv", "--pdeathsig", "KILL", "--", *words] if tied else words
    with log.open("ab") as output:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    return Process.of(started.pid)


def _start_hub(tied: bool, folder: Path) -> Process:
    """The process whose network is the hub's: it says so once it is no longer this machine's."""
    said = folder / "hub"
    os.mkfifo(said)
    inner = f"echo there >{said}; exec sleep infinity"
    hub = _start(["unshare", "--net", "sh", "-c", inner], tied, folder / "hub.log")
    if said.read_text() != "there\n" or _network(hub.pid) == _network(os.getpid()):
        hub.kill()
        raise LabError("the hub has no network of its own")
    return hub


def _network(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def _check(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        raise LabError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")


def _keygen(path: Path) -> None:
    path.unlink(missing_ok=True)
    _check(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
