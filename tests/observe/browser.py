"""A headless Chromium, driven through its own pipe: no port, no package.

Used by tests of pages and by `docs/make_pictures.py`.  Speaks the DevTools protocol.
"""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any


def program() -> str | None:
    """Where the browser is; None: this machine has none."""
    return shutil.which("chromium") or shutil.which("google-chrome")


class Browser:
    """One tab.

    Args:
        width: of the window, in pixels.
        height: of the window, in pixels.
    """

    def __init__(self, width: int = 1120, height: int = 1330) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="rt-browser-", ignore_cleanup_errors=True)
        in_read, self._in = os.pipe()
        self._out, out_write = os.pipe()
        # Away from 3 and 4, where the browser looks for them.
        its_in, its_out = (fcntl.fcntl(x, fcntl.F_DUPFD, 20) for x in (in_read, out_write))
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$0" "$@" 3<&{its_in} 4>&{its_out}',
                program() or "chromium",
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
                f"--user-data-dir={self._home.name}",
                "about:blank",
            ],
            pass_fds=(its_in, its_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in (in_read, out_write, its_in, its_out):
            os.close(descriptor)
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session = ""
        targets = self._call("Target.getTargets")["targetInfos"]
        (page,) = [x["targetId"] for x in targets if x["type"] == "page"]
        attached = self._call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        self._call("Page.enable")
        self.resize(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._home.cleanup()

    def resize(self, width: int, height: int) -> None:
        """Another size of the window."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def theme(self, name: str) -> None:
        """What the system prefers: light or dark."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self._call("Emulation.setEmulatedMedia", features=[feature])

    def go(self, address: str) -> None:
        """Open a page."""
        self._call("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        """What JavaScript makes of an expression (a promise is waited for).

        Raises:
            RuntimeError: it throws.
        """
        words = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        found = self._call("Runtime.evaluate", **words)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    def wait_for(self, expression: str, within_s: float = 60.0) -> None:
        """Until an expression is true; a page tells nobody that it has been drawn."""
        deadline = time.monotonic() + within_s
        while not self.value(f"Boolean(document.body && ({expression}))"):
            if time.monotonic() > deadline:
                text = self.value("document.body.innerText")
                raise AssertionError(f"{expression}: {text[:2000]}")
            time.sleep(0.05)

    def picture(self, path: Path) -> None:
        """What the window shows, as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def names(self) -> list[tuple[str, str]]:
        """The accessibility tree: (role, name) of everything that has a name."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        found = [(x.get("role", {}), x.get("name", {})) for x in nodes if not x.get("ignored")]
        return [(a.get("value", ""), b["value"]) for a, b in found if b.get("value")]

    def _call(self, method: str, **words: Any) -> Any:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": words}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _read(self) -> bytes:
        parts = [self._rest]
        while b"\0" not in parts[-1]:
            data = os.read(self._out, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            parts.append(data)
        found, _, self._rest = b"".join(parts).partition(b"\0")
        return found
