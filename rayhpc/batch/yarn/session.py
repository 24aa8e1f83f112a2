"""A user's access to a cluster: its configuration, our identity, and a ResourceManager client.

Used by `jobs` and `unmanaged`.  With Kerberos the ticket is exchanged for a delegation token by
HTTP (SPNEGO), and RPC uses that token.
"""

from __future__ import annotations

import functools
import getpass
import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.yarn import staging
from rayhpc.batch.yarn.application import SHARED_SECRET
from rayhpc.hadoop.client import Client
from rayhpc.hadoop.configuration import Configuration
from rayhpc.hadoop.errors import ConfigurationError, HadoopError
from rayhpc.hadoop.resource_managers import CLIENTS, addresses, web_addresses
from rayhpc.hadoop.tokens import Credentials, Token
from rayhpc.hadoop.webhdfs import open_webhdfs

if TYPE_CHECKING:
    from rayhpc.hadoop.web import Web

# What Hadoop itself takes as the user's name where nobody checks.
_USER = "HADOOP_USER_NAME"
_PATIENCE_S = 60.0
_SHARED_BYTES = 32


class Session:
    """One user on one cluster.

    Args:
        environ: names the configuration's folder, and possibly the user.
        say: called when no ResourceManager answers; may be replaced at any time.

    Raises:
        ConfigurationError: the configuration is missing or wrong.
    """

    def __init__(
        self, environ: Mapping[str, str], say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.configuration = Configuration.of_environment(environ)
        self.user = environ.get(_USER) or getpass.getuser()
        self.say = say
        self._client: Client | None = None
        self._token: Token | None = None

    @functools.cached_property
    def web(self) -> Web:
        """HTTP in the user's name."""
        from rayhpc.hadoop.web import Web

        return Web(secure=self.configuration.is_secure, user=self.user)

    @property
    def client(self) -> Client:
        """The ResourceManager.

        Raises:
            HadoopError: no ticket, or a wrong configuration.
        """
        if self._client is None:
            if self.configuration.is_secure and self._token is None:
                self._token = self._fetch_token()
            self._client = Client(
                addresses(self.configuration, CLIENTS),
                user=self.user,
                token=lambda: self._token,
                patience_s=_PATIENCE_S,
                on_outage=self._say_outage,
                renew=self._renew,
            )
        return self._client

    def credentials(self) -> Credentials:
        """The credentials of a new application's containers; no token where nobody checks."""
        found = Credentials(secrets={SHARED_SECRET: os.urandom(_SHARED_BYTES)})
        if self.configuration.is_secure:
            host, port = addresses(self.configuration, CLIENTS)[0]
            # REST leaves the service empty, and the ResourceManager does not renew such a token.
            service = f"{socket.gethostbyname(host)}:{port}"
            # Not the one that we use ourselves: YARN cancels this one when the application ends.
            token = self._fetch_token()
            found.tokens[service] = Token(token.identifier, token.password, token.kind, service)
            if staging.is_on_hdfs(self.configuration):
                # To fetch the files, and for NodeManagers to store the logs.
                files = open_webhdfs(self.configuration, self.web)
                token = files.delegation_token(self._renewer())
                found.tokens[token.service] = token
        return found

    @property
    def scheme(self) -> str:
        """The scheme of NodeManagers' web pages."""
        policy = self.configuration.get("yarn.http.policy", "HTTP_ONLY").strip()
        return "https" if policy == "HTTPS_ONLY" else "http"

    def get(self, path: str) -> Any:
        """A page of the ResourceManager's REST API.  Raises HadoopError or OSError."""
        problem: Exception | None = None
        for base in web_addresses(self.configuration):
            try:
                return self.web.json("GET", f"{base}{path}")
            except OSError as error:
                problem = error
        assert problem is not None
        raise problem

    def read(self, path: str) -> bytes:
        """A file of the default file system.  Raises HadoopError or OSError."""
        if staging.is_on_hdfs(self.configuration):
            return open_webhdfs(self.configuration, self.web).read(path)
        with open(path, "rb") as file:
            return file.read()

    def _say_outage(self, sentence: str) -> None:
        self.say(sentence)

    def _renew(self) -> bool:
        """Fetch another token: after a day the ResourceManager has forgotten ours."""
        if self._token is None:
            return False
        self._token = self._fetch_token()
        return True

    def _renewer(self) -> str:
        renewer = self.configuration.get("yarn.resourcemanager.principal", "")
        if not renewer:
            raise ConfigurationError(
                f"yarn.resourcemanager.principal is not set in {self.configuration.folder}: a "
                "secure cluster's yarn-site.xml names it"
            )
        return renewer

    def _fetch_token(self) -> Token:
        renewer = self._renewer()
        problem: Exception | None = None
        for base in web_addresses(self.configuration):
            url = f"{base}/ws/v1/cluster/delegation-token"
            try:
                return Token.from_text(self.web.json("POST", url, {"renewer": renewer})["token"])
            except HadoopError:
                raise
            except OSError as error:
                problem = error
        raise SchedulerError(f"no ResourceManager answers: {problem}")
