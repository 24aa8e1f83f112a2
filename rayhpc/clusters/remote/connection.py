"""A connection to one machine: opened once, used by every script for it, with a deadline for each.

Used by `bring_up`, `take_down` and `copying`, each machine from a thread of its own.  Keeps what
the last command printed, for `status`.
"""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rayhpc.clusters.remote.framing import REMOTE_COMMAND, Frame, Unwrapped
from rayhpc.clusters.remote.login import ALIVE_COUNT, ALIVE_S, Login
from rayhpc.clusters.remote.trouble import RemoteError, in_words

TAIL_LINES = 20
# A script that is held hears of us this often.
BEAT_S = 15.0
_TAIL_BYTES = 1 << 16
_CHUNK = 1 << 16
_END_S = 5.0


@dataclass(frozen=True)
class Finished:
    """A script that has ended: its exit code, and the last lines it printed."""

    code: int
    output: bytes

    @property
    def tail(self) -> list[str]:
        """The last lines."""
        return tail_of(self.output)


def tail_of(output: bytes) -> list[str]:
    """The last lines of an output."""
    lines = output.decode(errors="replace").replace("\r", "\n").split("\n")
    return [line.rstrip() for line in lines if line.strip()][-TAIL_LINES:]


class Connection:
    """One machine.

    Args:
        login: how to reach it.
        folder: a private folder for the connection's socket; its path must be short.
        name: unique in that folder.
    """

    def __init__(self, login: Login, folder: Path, name: str) -> None:
        self.login = login
        self._socket = folder / name

    def open(self, within_s: float) -> None:
        """Log in.

        Raises:
            RemoteError: not possible; it says why and what to do.
        """
        words = self.login.words(self._socket, master=True)
        words[1:1] = ["-f", "-N", "-o", "BatchMode=yes"]
        # A file, not a pipe: some versions of ssh keep it open in the background.
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
            )
            try:
                code = process.wait(within_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                sentence = f"it did not let us in within {within_s:g} s"
                raise RemoteError(self.login.host, sentence, may_pass=True) from None
            said.seek(0)
            if code != 0:
                raise in_words(self.login, said.read(_TAIL_BYTES))

    def run(
        self,
        script: str,
        *,
        within_s: float,
        stdin: bytes = b"",
        feed: Callable[[IO[bytes]], None] | None = None,
        sink: Callable[[bytes], None] | None = None,
        beats: bool = False,
    ) -> Finished:
        """Run a script in a login bash there.

        Args:
            script: shell text.
            within_s: seconds until it is given up.
            stdin: what it reads, small.
            feed: writes what it reads after that, from a thread.
            sink: takes all its output as it comes, instead of only the end being kept.
            beats: send a line each BEAT_S seconds while it runs.

        Raises:
            RemoteError: the connection broke, the shell did not run the script, or time was up.
            Exception: whatever `feed` raised.
        """
        exchange = _Exchange(self.login, self._start(), sink)
        try:
            exchange.send(script, stdin, feed, close=not beats)
            if beats:
                exchange.beat()
            finished = exchange.finish(within_s)
            assert finished is not None
            return finished
        finally:
            exchange.end()

    def hold(self, script: str, within_s: float) -> Held | Finished:
        """Run a script that says `held` and then reads a line each BEAT_S seconds; or ends before.

        Whatever becomes of us, the machine notices: by the end of file, or by the missing lines.

        Raises:
            RemoteError: as `run`.
        """
        exchange = _Exchange(self.login, self._start(), None)
        try:
            exchange.send(script, b"", None, close=False)
            finished = exchange.finish(within_s, until=b"held\n")
        except BaseException:
            exchange.end()
            raise
        if finished is not None:
            exchange.end()
            return finished
        return Held(exchange)

    def _start(self) -> subprocess.Popen[bytes]:
        words = [*self.login.words(self._socket), REMOTE_COMMAND]
        words[1:1] = ["-T", "-o", "BatchMode=yes"]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe)

    def close(self) -> None:
        """End the connection; it ends by itself as well, a little later."""
        words = self.login.words(self._socket)
        words[1:1] = ["-O", "exit"]
        quiet = subprocess.DEVNULL
        try:
            subprocess.run(
                words, stdin=quiet, stdout=quiet, stderr=quiet, timeout=_END_S, check=False
            )
        except subprocess.TimeoutExpired:
            pass


class _Exchange:
    """Both directions of one running ssh."""

    def __init__(
        self,
        login: Login,
        process: subprocess.Popen[bytes],
        sink: Callable[[bytes], None] | None,
    ) -> None:
        self._login = login
        self._process = process
        self._frame = Frame()
        self._unwrapped = Unwrapped(self._frame)
        self._sink = sink
        self._kept = b""
        self._errors = b""
        self._fed: Exception | None = None
        self._over = threading.Event()

    def send(
        self,
        script: str,
        data: bytes,
        feed: Callable[[IO[bytes]], None] | None,
        *,
        close: bool = True,
    ) -> None:
        """Write all of it from a thread, so that a machine that answers early is heard."""
        stdin = self._process.stdin
        assert stdin is not None

        def write() -> None:
            try:
                stdin.write(self._frame.wrap(script) + data)
                stdin.flush()
                if feed is not None:
                    feed(stdin)
                if close:
                    stdin.close()
            except (BrokenPipeError, ValueError):
                pass  # the other end, or we, have stopped: its exit code says why
            except Exception as error:
                self._fed = error
                self._process.kill()

        threading.Thread(target=write, daemon=True).start()

    def beat(self) -> None:
        """From now on, send a line each BEAT_S seconds until the end."""
        stdin = self._process.stdin
        assert stdin is not None

        def send() -> None:
            while not self._over.wait(BEAT_S):
                try:
                    stdin.write(b"\n")
                    stdin.flush()
                except (OSError, ValueError):
                    return  # nobody reads it any more

        threading.Thread(target=send, daemon=True).start()

    def finish(self, within_s: float, until: bytes | None = None) -> Finished | None:
        """Read to the script's end; None if it has printed `until` before."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        deadline = time.monotonic() + within_s
        out = self._process.stdout.fileno()
        open_files = [out, self._process.stderr.fileno()]
        while open_files and self._unwrapped.code is None:
            ready = select.select(open_files, [], [], max(deadline - time.monotonic(), 0))[0]
            if not ready:
                sentence = f"not done within {within_s:g} s"
                raise RemoteError(self._login.host, sentence, tail=tail_of(self._kept))
            for descriptor in ready:
                data = os.read(descriptor, _CHUNK)
                if not data:
                    open_files.remove(descriptor)
                elif descriptor == out:
                    self._keep(self._unwrapped.take(data))
                else:
                    self._errors = (self._errors + data)[-_TAIL_BYTES:]
            if until is not None and until in self._kept + self._unwrapped.held:
                return None
        self._keep(self._unwrapped.rest())
        if self._fed is not None:
            raise self._fed
        if self._unwrapped.code is not None:
            return Finished(self._unwrapped.code, self._kept)
        raise self._lost()

    def end(self) -> None:
        """Nothing of this ssh stays."""
        self._over.set()
        process = self._process
        process.kill()
        process.wait()
        for file in (process.stdin, process.stdout, process.stderr):
            try:
                if file is not None:
                    file.close()
            except OSError:
                pass  # what it had not read is of no use any more

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        if self._sink is not None:
            self._sink(data)
        else:
            self._kept = (self._kept + data)[-_TAIL_BYTES:]

    def _lost(self) -> RemoteError:
        """No end of the script was seen: the shell never began, or the connection broke."""
        host = self._login.host
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            code = 255
        if self._unwrapped.begun:
            silent = f"nothing was heard of it for {ALIVE_S * ALIVE_COUNT} s, or it went down"
            sentence = f"the connection broke: {silent}"
            return RemoteError(host, sentence, tail=tail_of(self._kept))
        if code == 255:
            return in_words(self._login, self._errors)
        printed = tail_of(self._unwrapped.before + b"\n" + self._errors)
        sentence = f"its login shell ended with exit code {code} before it ran anything of ours"
        return RemoteError(host, sentence, tail=printed)


class Held:
    """A script that runs for as long as it hears of us."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        exchange.beat()

    def release(self) -> None:
        """Let it end."""
        self._exchange.end()
