"""For every test: Ctrl-C means what it means at a terminal.

A shell that starts the suite in the background has it ignore SIGINT, and with it every program
that the tests start.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
