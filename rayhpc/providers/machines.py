"""Places whose machines are computers with sshd: the cluster launcher sets them up over ssh.

Implemented by the providers of clouds, called by `clusters.renting`.  Such a provider makes the
machines and what the cluster needs beside them, a key pair and rules for its network; it never
logs in to one, and no machine is given the user's credentials or a secret of the cluster's.  Where
the head's machine has a role at its place, the same provider works there with that.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import socket
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rayhpc.elastic.types import Machine, NodeType
from rayhpc.providers.base import ClusterFacts, Provider, ProviderKind

#: Machines' names are the type's and a number; the head's begin so.
HEAD = "head"


@dataclass(frozen=True)
class Rented(Machine):
    """A machine that can be logged in to once it runs.

    `address` is the one by which the cluster's nodes reach each other.

    Attributes:
        login: the address to log in to from here; None: not known yet.
        identity: the place's own id of it, never used again for another: its host key is pinned
            under that, since addresses are used again.
        made_of: `print_of` of the type as it was when the machine was asked for.
        ends_at: when its place ends it, in seconds since 1970; None: it does not.
    """

    login: str | None = None
    identity: str = ""
    made_of: str = ""
    ends_at: float | None = None


@dataclass(frozen=True)
class Watched:
    """A machine of some cluster, for `rayhpc sweep`.

    Attributes:
        cluster: the cluster's name.
        name: the machine's.
        identity: the place's own id of it.
        owner: who has asked for it.
        until: until when somebody looks after it, in seconds since 1970; None: nobody has said so,
            and it ends itself when no node runs there.
        has_ended: it does nothing any more, but is on the bill until it is deleted.
    """

    cluster: str
    name: str
    identity: str
    owner: str
    until: float | None
    has_ended: bool = False

    def is_stale(self, now: float) -> bool:
        """Whether somebody looked after it who does so no more, or it has ended."""
        return self.has_ended or (self.until is not None and self.until < now)

    def say(self, now: float) -> str:
        """In words."""
        if self.has_ended:
            return "has ended, and is on the bill until it is deleted"
        if self.until is None:
            return "ends itself when no node runs there"
        minutes = abs(self.until - now) / 60
        if self.is_stale(now):
            return f"nobody has looked after it for {minutes:.0f} minutes"
        return f"looked after for another {minutes:.0f} minutes at least"


class MachineProvider(Provider, Protocol):
    """A `base.Provider` of such machines, for one cluster.  Every method raises ProviderError."""

    def prepare(self, public_key: str, user: str) -> None:
        """Have what the machines need beside themselves, such as a key pair and network rules.

        Called before machines are asked for.

        Args:
            public_key: lets us in, in OpenSSH's format.
            user: as whom; images that have a user of their own let in that one.
        """

    def let_in(self, public_keys: Sequence[str]) -> None:
        """Have machines that are asked for from now on let in these keys as well.

        Args:
            public_keys: in OpenSSH's format, besides the one of `prepare`.
        """

    def list(self) -> Sequence[Rented]:
        """All machines of the cluster, whoever has asked for them."""

    def dissolve(self) -> Sequence[str]:
        """Remove what `prepare` has made, once every machine has been released.

        Returns:
            What is still there, in words; it goes as soon as the machines have gone.
        """

    def renew(self, until: float | None) -> None:
        """Note on every machine that somebody looks after it until then, in seconds since 1970.

        None: nobody does any more, and nobody is to end them for that.
        """


class MachineKind(ProviderKind):
    """A kind of place with such machines."""

    #: Whom to log in as if the cluster's file does not say.
    user: str
    #: Whether it knows keys of the user's, which `KeyName` in `node_config` names.
    knows_keys: bool = False
    #: What gives a machine a role, by its name in `node_config`; empty: such roles are not served.
    role_option: str = ""

    def open(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> Provider:
        """For one cluster."""
        return self.rent(cluster.name, cluster.options or {}, types)

    @abstractmethod
    def rent(
        self, cluster: str, options: Mapping[str, object], types: Sequence[NodeType]
    ) -> MachineProvider:
        """The provider for one cluster.  Asks nobody yet.

        Args:
            cluster: its name.
            options: `provider` of its file.
            types: with `node_config` as their options.

        Raises:
            OptionError: one of them is wrong, or a package is missing.
        """

    def has_role(self, node_type: NodeType) -> bool:
        """Whether machines of a type have a role of their own, with which they may ask for others.

        What that role permits, only its place knows.
        """
        return bool(self.role_option and node_type.options.get(self.role_option))

    def options_there(self, options: Mapping[str, object]) -> dict[str, object]:
        """`provider` of a cluster's file for use on a machine of the cluster's that has a role.

        What names credentials of the user's is left out, and what only this machine knows, such as
        a default region, is filled in.
        """
        return dict(options)

    @abstractmethod
    def watched(self, options: Mapping[str, object]) -> Sequence[Watched]:
        """All machines of all clusters there that are not over.  Raises ProviderError."""

    @abstractmethod
    def end(self, options: Mapping[str, object], identities: Sequence[str]) -> None:
        """End machines by the place's own ids.  Raises ProviderError."""


def is_internal(options: Mapping[str, object], name: str) -> bool:
    """Whether a machine has, or is reached by, its address in the cloud alone.

    Args:
        options: `provider` of the cluster's file.
        name: the machine's.
    """
    is_outside = name.startswith(f"{HEAD}-") and bool(options.get("use_external_head_ip"))
    return bool(options.get("use_internal_ips")) and not is_outside


def print_of(kind: NodeType) -> str:
    """A hash of what machines of a type are asked for with: another one means another machine."""
    return hashlib.sha256(json.dumps(dict(kind.options), sort_keys=True).encode()).hexdigest()[:16]


def owner() -> str:
    """Who asks for a machine: for people who look at the place's own list."""
    return f"{getpass.getuser()}@{socket.gethostname()}"[:256]
