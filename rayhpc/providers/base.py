"""The interface of a provider: a place that machines come from.

Each module of `rayhpc.providers` has one, and a site's own package may add one (`registry` finds
them all).  `elastic.loop` is the only caller.  A provider knows machines and their names; it knows
no task, no planner, and never decides how many machines there should be.

Everything here is idempotent, because answers get lost: whoever asks again under the same names
gets the same machines.  A provider keeps nothing that it cannot find again by its machines' names,
so that another process may go on where one was killed.  Calls may take seconds; they come from one
thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rayhpc.elastic.types import Machine, NodeType
from rayhpc.exit_codes import ExitCode, LaunchError


class ProviderError(LaunchError):
    """The place did not do it, or did not answer: whether it has done it is unknown.

    It is asked again later, under the same names.  The message is the place's own words and what to
    do about them.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.SCHEDULER)


class RefusedError(ProviderError):
    """The place refuses, and will for as long as the request stays as it is.

    The node type is paused and the message shown until the user resumes it.
    """


class CapacityError(ProviderError):
    """The place has no such machine now: asked again after a while, and longer each time."""


class Provider(Protocol):
    """One place that machines of one cluster come from.

    Every method raises ProviderError if the place fails.
    """

    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        """Have these machines, of that type, come to be.

        Those asked for before under these names are not asked for again, not even if they have
        ended.
        Returns when the place has accepted, not when they are there.

        Raises:
            RefusedError: never, as asked.
            CapacityError: not now.
        """

    def cancel(self, names: Sequence[str]) -> None:
        """Have those of them that are not there yet not come to be; the others stay as they are."""

    def list(self) -> Sequence[Machine]:
        """All machines of this cluster that were asked for, by the place itself: the truth.

        Those that ended long ago, or that the place has forgotten, may be missing.
        """

    def release(self, names: Sequence[str]) -> None:
        """End these machines, whatever state they are in, and see to it that none replaces them."""

    def explain(self, name: str) -> str:
        """Why a machine is pending, or how it ended, in the place's own words."""


class AddressedProvider(Provider, Protocol):
    """A provider that trades tokens: it says which addresses a machine really has."""

    def addresses(self, name: str) -> Collection[str] | None:
        """A machine's addresses; None: not known yet.  Called from another thread, never raises."""


@dataclass(frozen=True)
class ClusterFacts:
    """What a provider is told about the cluster that its machines are for.

    Attributes:
        name: unique among the user's clusters at that place; letters, digits and `-`.
        address: the head's, as `rayhpc start --address` takes it.
        key_file: a file with the cluster's key, readable by its owner alone.  Its contents go to a
            machine by a channel that only the user can read, never by argv, environment or a log.
        folder: the cluster's private folder; on a place with a shared file system machines see it.
        work_dir: where programs run.
        ends_at: when the cluster is over at the latest, in seconds since 1970; None: unknown.
        options: what the user said about the whole place, such as `provider` in a cluster's YAML.
        join_token: makes a one-time token for a machine, by its name, that its node trades for the
            key (`wire.join_tokens`); only for providers that trade tokens.
        resizer: what gives nodes to the job that the cluster is in, if its batch system has one.
    """

    name: str
    address: str
    key_file: Path
    folder: Path
    work_dir: str
    ends_at: float | None = None
    options: Mapping[str, object] | None = None
    join_token: Callable[[str], bytes] | None = None
    resizer: object = None


class ProviderKind(ABC):
    """One kind of place; its object is what the entry points of `rayhpc.providers` name."""

    #: As in `provider: {type: NAME}`.
    name: str
    #: Its name in sentences.
    title: str
    #: Whether a machine's description can be read by others, so that it gets a one-time token.
    trades_tokens: bool = False
    #: Whether the place itself hands its machines the key, so that it is written nowhere.
    hands_over_key: bool = False
    #: Seconds between two looks at the place while anything is pending there (`Provider.list`).
    look_seconds: float = 30.0
    #: The batch system whose jobs its machines are, so that heads can be such jobs, too, and the
    #: machines see the user's files.  None: it gives machines of another kind.
    batch_system: str | None = None
    #: Whether its machines are parts of the head's own job: like the head in size, known to it
    #: alone, and gone with it.
    within_heads_job: bool = False

    def job_words(self, node_type: NodeType) -> list[str]:
        """A node type's options as arguments of the program that submits `batch_system`'s jobs.

        Raises:
            OptionError: an option is decided by rayhpc.
        """
        raise NotImplementedError

    def job_fields(self, node_type: NodeType) -> dict[str, Any]:
        """A node type's options as fields of the request for `batch_system` (`batch.request`).

        Raises:
            OptionError: an option is wrong, or decided by rayhpc.
        """
        words = self.job_words(node_type)
        return {"further": {self.batch_system: tuple(words)}} if words else {}

    def life_seconds(self, node_type: NodeType) -> float | None:
        """How long a machine of a type lives, by its options; None: they do not say."""
        return None

    @abstractmethod
    def open(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> Provider:
        """The provider for one cluster.  Asks for nothing yet.

        Raises:
            OptionError: an option of the place or of a type is wrong; the message names it.
        """
