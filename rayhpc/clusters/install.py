"""The set-up command that every rented machine has besides the file's: rayhpc, if it is not there.

Used by `stages`.  Images and the file's own commands may have it already; machines of a list are
their owner's, so nothing is installed there unasked.
"""

from __future__ import annotations

from importlib.metadata import version

# Ubuntu's images have Python, but venv is a package of its own there.
_TEXT = """\
# rayhpc, unless it is there
type -P rayhpc >/dev/null || {{ \
{{ python3 -m venv ~/.rayhpc 2>/dev/null || {{ sudo apt-get update -qq && \
sudo apt-get -o DPkg::Lock::Timeout=300 install -y -qq python3-venv && \
python3 -m venv ~/.rayhpc; }}; }} && \
~/.rayhpc/bin/pip install -q 'rayhpc=={version}' && \
echo 'export PATH=~/.rayhpc/bin:$PATH' >>~/.profile; }}"""


def install_command() -> str:
    """For a shell."""
    return _TEXT.format(version=version("rayhpc"))
