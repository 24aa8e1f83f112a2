"""The errors between us and a Hadoop service.

Raised throughout `rayhpc.hadoop`; every text says what to look at next.
"""

from __future__ import annotations


class HadoopError(Exception):
    """The base of everything that this library raises on purpose."""


class RemoteError(HadoopError):
    """An exception returned by the server.

    `java_class` is its full name, `message` the server's own text, including a stack trace.
    """

    def __init__(self, java_class: str, message: str = "") -> None:
        first_line = message.partition("\n")[0]
        self.java_class = java_class
        self.message = message
        super().__init__(f"{self.name}: {first_line}")

    @property
    def name(self) -> str:
        """The exception's name without its package and the class around it."""
        return self.java_class.rpartition(".")[2].rpartition("$")[2]


class AuthenticationError(HadoopError, ConnectionError):
    """The two sides have no common authentication method, or one is not who it should be."""


class ConfigurationError(HadoopError):
    """A configuration file or property is missing or wrong; the text names it."""


class KerberosError(HadoopError, ConnectionError):
    """No ticket, an expired one, or an unknown service, in the words of the system's GSSAPI."""


class WebError(HadoopError):
    """An HTTP answer that is not a success; `status` is its code."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
