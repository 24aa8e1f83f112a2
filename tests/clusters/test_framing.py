"""A script's output is told from whatever else a login shell prints; run in a real bash."""

from __future__ import annotations

import contextlib
import signal
import subprocess

import pytest

from rayhpc.clusters.remote import scripts
from rayhpc.clusters.remote.framing import REMOTE_COMMAND, Frame, Unwrapped


def run(
    script: str, stdin: bytes = b"", startup: str = "", *, held: bool = False
) -> tuple[bytes, int | None]:
    """As sshd runs it: the user's shell gets the command, which starts a login bash.

    `held`: standard input does not end before the output does.
    """
    frame = Frame()
    with subprocess.Popen(
        ["sh", "-c", f"{startup}\n{REMOTE_COMMAND}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={"PATH": "/usr/bin:/bin", "HOME": "/"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # a shell that reads nothing has ended
            process.stdin.write(frame.wrap(script) + stdin)
        if not held:
            process.stdin.close()
        stdout = process.stdout.read()
    unwrapped = Unwrapped(frame)
    # A byte at a time: a mark may come in any pieces.
    out = b"".join(unwrapped.take(bytes([each])) for each in stdout)
    return out + unwrapped.rest(), unwrapped.code


def test_the_output_and_the_exit_code_arrive() -> None:
    assert run("echo 'it''s \"here\" $HOME'; exit 7") == (b'its "here" $HOME\n', 7)


def test_output_is_not_held_back_until_the_next_comes() -> None:
    frame = Frame()
    unwrapped = Unwrapped(frame)
    unwrapped.take(frame.begin)
    assert unwrapped.take(b"working ...") == b"working ..."


def test_what_the_shell_prints_by_itself_is_left_out() -> None:
    assert run("echo ours", startup="echo noise; echo begin") == (b"ours\n", 0)


def test_standard_input_is_the_scripts_own_to_the_last_byte() -> None:
    data = bytes(range(256)) * 100
    assert run("cat", data) == (data, 0)


@pytest.mark.parametrize("startup", ["echo no logins; exit 1", "exec cat"])
def test_a_shell_that_runs_nothing_of_ours_is_noticed(startup: str) -> None:
    _, code = run("echo ours", startup=startup)
    assert code is None


def test_a_command_ends_with_those_who_wait_for_it() -> None:
    # Standard input ends: we are gone.
    assert run(scripts.command("sleep 1000")) == (b"", 128 + signal.SIGTERM)


def test_a_commands_own_exit_code_arrives_and_a_syntax_error_is_its_failure() -> None:
    code = "[ -t 0 ] || read -r x || exit 7"
    assert run(scripts.command(code), held=True) == (b"", 7)
    out, rc = run(scripts.command('echo "never closed'), held=True)
    assert rc not in (0, None)
    assert b"unexpected EOF" in out
