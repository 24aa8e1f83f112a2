"""`submit`, `exec` and `attach` where they are about a launched cluster instead of a job.

Called by the commands of these names.  Everything runs on the head's machine, over ssh; this
process becomes that ssh, or waits for it.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from rayhpc.cli.become import become
from rayhpc.cli.cluster_access import Cluster, find, identity
from rayhpc.cli.cluster_kinds import verbs_of
from rayhpc.cli.saying import say
from rayhpc.clusters.copying import send
from rayhpc.clusters.remote import interactive
from rayhpc.clusters.transfer import Mount
from rayhpc.exit_codes import ExitCode, LaunchError, exit_code_of

# Options that Ray's users write behind the command, where they would be part of it.
_SWITCHES = ("--start", "--stop", "--tmux", "--screen")


def exec_on(
    word: str, words: Sequence[str], switches: set[str], forwards: tuple[int, ...] = ()
) -> int:
    """Run a command: one word is shell text, several are a program and its arguments."""
    words = without_switches(words, switches)
    if not words:
        raise click.UsageError("give the command to run, such as 'python script.py'")
    cluster = _started(word, switches)
    verbs = verbs_of(cluster)
    if verbs is not None:
        return verbs.exec_on(cluster, words, switches, forwards)
    text = words[0] if len(words) == 1 else shlex.join(words)
    return _run(cluster, text, switches, forwards)


def submit_to(word: str, words: Sequence[str], switches: set[str]) -> int:
    """Copy a script to the head's home directory and run it there with its arguments."""
    name, *arguments = without_switches(words, switches) or [""]
    script = Path(name)
    if not script.is_file():
        raise click.UsageError(f"there is no script {name}")
    cluster = _started(word, switches)
    verbs = verbs_of(cluster)
    if verbs is not None:
        return verbs.submit_to(cluster, [name, *arguments], switches)
    with cluster.launcher(cluster.hosts()[:1], quiet=True) as launcher:
        launcher.open(launcher.head)
        mount = Mount(f"~/{script.name}", str(script))
        done = send(launcher.head.connection, mount, launcher.patterns)
    if done.code != 0:
        reason = " ".join(done.tail) or "no reason given"
        raise LaunchError(f"{script} could not be copied to the head: {reason}")
    program = f'"$HOME"/{shlex.quote(script.name)} {shlex.join(arguments)}'
    text = f'exec "$(type -P python || type -P python3)" {program}'
    return _run(cluster, text, switches, ())


def attach_to(word: str, *, tmux: bool, screen: bool, forwards: tuple[int, ...]) -> NoReturn:
    """Become a shell on the head's machine."""
    if tmux and screen:
        raise click.UsageError("--tmux and --screen exclude each other")
    cluster = find(word)
    verbs = verbs_of(cluster)
    if verbs is not None:
        verbs.attach_to(cluster, tmux=tmux, screen=screen, ports=forwards)
    name = f"rayhpc-{cluster.name}"
    shell = "exec bash -i"
    if tmux:
        shell = f"exec tmux new-session -A -s {shlex.quote(name)}"
    if screen:
        shell = f"exec screen -D -R -S {shlex.quote(name)}"
    head = cluster.hosts()[0]
    # A machine on which no node runs can be looked at all the same.
    script = (
        f"{identity(cluster, head)}\n"
        f"rayhpc _machine do {shlex.quote(shell)} || {{ [ $? -ge 70 ] && {shell}; }}"
    )
    words = interactive.command(cluster.head_login(), script, terminal=True, forwards=forwards)
    become(words)


def follow_logs(word: str, lines: int) -> NoReturn:
    """Become a `tail` of the head's logs."""
    cluster = find(word)
    verbs = verbs_of(cluster)
    if verbs is not None:
        verbs.follow_logs(cluster, lines)
    script = (
        f"{identity(cluster, cluster.hosts()[0])}\nstty -onlcr; exec rayhpc _machine logs {lines}"
    )
    # With a terminal it ends with our connection: it may have nothing to write for long.
    become(interactive.command(cluster.head_login(), script, terminal=True, forwards=()))


def without_switches(words: Sequence[str], switches: set[str]) -> list[str]:
    """The command without our own options before and behind it, which are added to `switches`.

    After `--` everything is the command's own.
    """
    kept = list(words)
    while kept and kept[0] in _SWITCHES:
        switches.add(kept.pop(0))
    if kept[:1] == ["--"]:
        return kept[1:]
    while kept and kept[-1] in _SWITCHES:
        switches.add(kept.pop())
    return kept


def _started(word: str, switches: set[str]) -> Cluster:
    if "--start" in switches:
        from rayhpc.cli.up import up

        code = up.main(["-y", word], standalone_mode=False)
        if code:
            raise LaunchError(f"cluster {word} did not start", code)
    return find(word)


def _run(cluster: Cluster, text: str, switches: set[str], forwards: tuple[int, ...]) -> int:
    head = cluster.hosts()[0]
    whole = f"rayhpc _machine do {shlex.quote(text)}"
    if "--stop" in switches:
        # By the head's machine itself: it holds whatever becomes of this one.
        whole += "; code=$?; rayhpc _machine stop; exit $code"
    if switches & {"--tmux", "--screen"}:
        return _in_background(cluster, whole, "--tmux" in switches)
    script = f"{identity(cluster, head)}\n{whole}"
    terminal = sys.stdin.isatty()
    login = cluster.head_login()
    words = interactive.command(login, script, terminal=terminal, forwards=forwards)
    sys.stdout.flush()
    try:
        return exit_code_of(subprocess.run(words, check=False).returncode)
    except OSError as error:
        raise LaunchError(
            f"ssh cannot be started: {error.strerror}", ExitCode.CONFIGURATION
        ) from None


def _in_background(cluster: Cluster, whole: str, tmux: bool) -> int:
    name = f"rayhpc-{cluster.name}"
    inner = shlex.quote(f"{identity(cluster, cluster.hosts()[0])}\n{whole}")
    start = "screen -d -m -S {0} bash -c {1}"
    if tmux:
        start = "tmux new-session -d -s {0} bash -c {1}"
    script = start.format(shlex.quote(name), inner)
    words = interactive.command(cluster.head_login(), script, terminal=False, forwards=())
    code = exit_code_of(subprocess.run(words, check=False).returncode)
    if code == 0:
        option = "--tmux" if tmux else "--screen"
        say(f"it runs in the background: `rayhpc attach {option} {cluster.name}` shows it")
    return code
