"""Who we are to an API server: a token, a token's file, a client certificate, an exec plugin.

Used by `access` and `client`.  Secrets stay in memory, and in no message.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from rayhpc.kubernetes.errors import ConfigError

Pair = tuple[str, str]
_PLUGIN_S = 120.0
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
# A token is asked for anew so long before its end.
_EARLY_S = 30.0


class Credentials(Protocol):
    """One way to prove who we are."""

    def token(self) -> str | None:
        """The bearer token to send, if any.  Raises ConfigError."""

    def client_certificate(self) -> Pair | None:
        """Certificate and key to show, as PEM text, if any.  Raises ConfigError."""

    def forget(self) -> None:
        """The server did not accept them: have new ones next time, if that is possible."""


class Fixed:
    """A token, a certificate, both, or nothing."""

    def __init__(self, token: str | None, pair: Pair | None = None) -> None:
        self._token, self._pair = token, pair

    def token(self) -> str | None:
        """It never changes."""
        return self._token

    def client_certificate(self) -> Pair | None:
        """It never changes."""
        return self._pair

    def forget(self) -> None:
        """There is no other."""


class TokenFile:
    """A token's file, which is written anew now and then, as a pod's is."""

    def __init__(self, path: Path, pair: Pair | None = None) -> None:
        self._path, self._pair = path, pair

    def token(self) -> str | None:
        """Read each time."""
        try:
            return self._path.read_text().strip()
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}") from None

    def client_certificate(self) -> Pair | None:
        """Beside it, if any."""
        return self._pair

    def forget(self) -> None:
        """It is read each time."""


class ExecPlugin:
    """A program that says who we are (`aws eks get-token` and its like).

    Args:
        words: the program and its arguments.
        environ: its environment.
        version: of the interface, as the kubeconfig names it.
        info: what it is told of the cluster, or nothing.
        hint: what to do if it is not installed, in the kubeconfig's words.
    """

    def __init__(
        self,
        words: list[str],
        environ: Mapping[str, str],
        version: str,
        info: Mapping[str, Any] | None = None,
        hint: str = "",
    ) -> None:
        self._words, self._environ, self._version = words, dict(environ), version
        self._info, self._hint = info, hint
        self._status: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        told: Mapping[str, Any],
        path: Path,
        cluster: Mapping[str, Any],
        environ: Mapping[str, str],
    ) -> ExecPlugin:
        """The one of a kubeconfig's `exec`.  Raises ConfigError."""
        version, program = str(told.get("apiVersion")), str(told.get("command") or "")
        if version not in _VERSIONS:
            raise ConfigError(
                f"{path}: exec: apiVersion {version} is none of {', '.join(_VERSIONS)}"
            )
        if not program:
            raise ConfigError(f"{path}: exec: command is missing")
        if os.sep in program:
            program = str(path.parent / program)
        more = {str(each["name"]): str(each["value"]) for each in told.get("env") or ()}
        info = None
        if told.get("provideClusterInfo"):
            info = {"server": cluster.get("server")}
            if cluster.get("certificate-authority-data"):
                info["certificate-authority-data"] = cluster["certificate-authority-data"]
        words = [program, *map(str, told.get("args") or ())]
        hint = str(told.get("installHint") or "").strip()
        return cls(words, {**environ, **more}, version, info, hint)

    def token(self) -> str | None:
        """What the program says."""
        found = self._found().get("token")
        return None if found is None else str(found)

    def client_certificate(self) -> Pair | None:
        """What the program says."""
        found = self._found()
        certificate, key = found.get("clientCertificateData"), found.get("clientKeyData")
        return (str(certificate), str(key)) if certificate and key else None

    def forget(self) -> None:
        """Ask it again next time."""
        self._status = None

    def _found(self) -> Mapping[str, Any]:
        if self._status is None or _is_over(self._status.get("expirationTimestamp")):
            self._status = self._ask()
        return self._status

    def _ask(self) -> Mapping[str, Any]:
        spec: dict[str, Any] = {"interactive": False}
        if self._info is not None:
            spec["cluster"] = self._info
        told = {"apiVersion": self._version, "kind": "ExecCredential", "spec": spec}
        environ = {**self._environ, "KUBERNETES_EXEC_INFO": json.dumps(told)}
        name = self._words[0]
        try:
            done = subprocess.run(
                self._words,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PLUGIN_S,
                check=False,
            )
        except FileNotFoundError:
            hint = f"\n{self._hint}" if self._hint else ""
            raise ConfigError(f"the exec plugin {name} is not installed{hint}") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"the exec plugin {name} failed: {error}") from None
        if done.returncode != 0:
            said = done.stderr.strip()[-1000:]
            raise ConfigError(f"the exec plugin {name} failed ({done.returncode}): {said}")
        try:
            status = json.loads(done.stdout)["status"]
        except (ValueError, KeyError, TypeError):
            # Not chained, and not quoted: it may hold a token.
            raise ConfigError(f"the exec plugin {name} printed no ExecCredential") from None
        if not isinstance(status, dict):
            raise ConfigError(f"the exec plugin {name} printed no credential")
        return status


def _is_over(moment: object) -> bool:
    if not isinstance(moment, str):
        return False
    try:
        end = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError:
        return True
    return (end - datetime.now(timezone.utc)).total_seconds() < _EARLY_S
