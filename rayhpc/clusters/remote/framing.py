"""A script for another machine's shell, and its output told from everything else that is printed.

Used by `connection`.  The script travels over ssh's standard input, not its arguments, where
others on the machine would see it; it starts in an interactive login bash, as Ray's commands do,
because that is what sets up conda and modules.  Whatever such a shell prints by itself comes before
a line that only we know.
"""

from __future__ import annotations

import base64
import os

# For any login shell, csh and fish included: only single quotes around it.
REMOTE_COMMAND = (
    'exec bash --login -i -c \'IFS= read -r script && eval "$(printf %s "$script" | base64 -d)"\''
)


class Frame:
    """The lines around one script's output."""

    def __init__(self) -> None:
        self._mark = os.urandom(12).hex()

    @property
    def begin(self) -> bytes:
        """The line after which output is the script's."""
        return f"\nbegin {self._mark}\n".encode()

    @property
    def end(self) -> bytes:
        """What comes after its output; the exit code and a newline follow."""
        return f"\nend {self._mark} ".encode()

    def wrap(self, script: str) -> bytes:
        """What to send: one line.  The rest of standard input is the script's own."""
        whole = (
            "set +o history 2>/dev/null\n"
            f"printf '\\nbegin %s\\n' {self._mark}\n"
            f"(\n{script}\n)\n"
            f"printf '\\nend %s %d\\n' {self._mark} $?\n"
        )
        return base64.b64encode(whole.encode()) + b"\n"


class Unwrapped:
    """Takes output as it comes and keeps what the script has printed.

    `begun` and `code` say how far it has come; `take` returns what is new of its output.
    """

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._held = b"\n"
        self.begun = False
        self.code: int | None = None
        self.before = b""

    def take(self, data: bytes) -> bytes:
        """The part of the script's output that is now certain."""
        self._held += data
        if not self.begun:
            before, found, rest = self._held.partition(self._frame.begin)
            if not found:
                return b""
            self.begun, self.before, self._held = True, before.strip(), rest
        return self._until_end()

    def rest(self) -> bytes:
        """What is left when nothing more will come."""
        if not self.begun:
            self.before = self._held.strip()
        held, self._held = self._held, b""
        return held if self.begun and self.code is None else b""

    @property
    def held(self) -> bytes:
        """The script's output that may still turn out to be its end."""
        return self._held if self.begun else b""

    def _beginning_of_end(self) -> int:
        """How many of the last bytes may be the first of the line that ends the output."""
        end = self._frame.end
        most = min(len(end), len(self._held))
        return next((n for n in range(most, 0, -1) if self._held.endswith(end[:n])), 0)

    def _until_end(self) -> bytes:
        out, found, code = self._held.partition(self._frame.end)
        if not found:
            keep = self._beginning_of_end()
            split = len(self._held) - keep
            out, self._held = self._held[:split], self._held[split:]
            return out
        if b"\n" in code:
            self.code = int(code.split()[0])
            self._held = b""
            return out
        self._held = self._frame.end + code
        return out
