"""A cluster that grows and shrinks with its work: `rayhpc run --elastic` and `--growth`.

Used by rank 0 (`head_rank`).  Runs `elastic.loop` in a thread.  A job grows by nodes like its own,
from its batch system; a cluster of `rayhpc up` as its growth file says.  The nodes are machines of
their own that join with the cluster's key, which lies in a private folder, unless the batch system
hands it over.  What has been added ends with the program.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rayhpc.allocation.sizing import NodeSize
from rayhpc.batch import registry as systems
from rayhpc.batch.errors import OptionError
from rayhpc.elastic.loop import Loop
from rayhpc.elastic.turns import Turns
from rayhpc.elastic.types import NodeType, check_types
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import growth_file, node_config
from rayhpc.launch.machine_tokens import MachineTokens
from rayhpc.launch.observer import Operator
from rayhpc.launch.options import NodeOptions
from rayhpc.launch.shared_directories import shared_directories
from rayhpc.launch.system_channel import SystemChannel
from rayhpc.providers import registry
from rayhpc.providers.base import ClusterFacts, ProviderKind
from rayhpc.wire import keys
from rayhpc.wire.address import raylet_of
from rayhpc.wire.keys import ClusterKey
from rayhpc.wire.messages.cluster import Drain, KvDelete, KvGet, KvPut, Load, Undrain
from rayhpc.wire.messages.common import Resources
from rayhpc.wire.messages.elastic import (
    ELASTIC_SPACE,
    FLOOR_KEY,
    HISTORY_KEY,
    RESUME_KEY,
    STATE_KEY,
    STATUS_KEY,
    ElasticStatus,
    Moment,
)
from rayhpc.wire.messages.load import ClusterLoad

if TYPE_CHECKING:
    from rayhpc.launch.run_context import RunContext

WORKER = "worker"


@dataclass(frozen=True)
class _Plan:
    """From where, of which types, and in which folder; `own_folder`: it goes with the cluster."""

    kind: ProviderKind
    types: Sequence[NodeType]
    folder: Path
    name: str
    work_dir: str
    own_folder: bool = True
    options: dict[str, object] | None = None
    most: int | None = None


class Growing:
    """The thread, and what it needs.

    Args:
        run: rank 0's.
        session_dir: this node's session.
        address: the head's.
        key: the cluster's.

    Raises:
        LaunchError: this batch system gives no nodes, or there is no folder that they would see.
    """

    def __init__(self, run: RunContext, session_dir: str, address: str, key: ClusterKey) -> None:
        growth = run.options.growth
        plan = _of_job(run, key, session_dir) if growth is None else _of_file(Path(growth))
        self._plan, self._key_file = plan, plan.folder / growth_file.KEY
        # One that a head has left which was killed is of no use to anybody.
        self._key_file.unlink(missing_ok=True)
        if not plan.kind.hands_over_key:
            keys.write(self._key_file, key)
        self._tokens: MachineTokens | None = None
        try:
            if plan.kind.trades_tokens:
                self._tokens = MachineTokens(key, address)
            facts = ClusterFacts(
                name=plan.name,
                address=address,
                key_file=self._key_file,
                folder=plan.folder,
                work_dir=plan.work_dir,
                ends_at=run.place.allocation.end_time.value,
                options=plan.options,
                join_token=self._tokens.issue if self._tokens is not None else None,
                resizer=run.channel.resizer() if isinstance(run.channel, SystemChannel) else None,
            )
            provider = plan.kind.open(facts, plan.types)
            if self._tokens is not None:
                self._tokens.serve_for(provider)
        except BaseException:
            self._leave_nothing()
            raise
        self._operator = Operator(session_dir)
        head, look_s = ClusterHead(self._operator), plan.kind.look_seconds
        note = run.progress.note
        self._loop = Loop(plan.types, provider, head, look_s, note, most=plan.most)
        if growth is not None:
            growth_file.write_note(plan.folder, _note_of(run, session_dir, address))
        self._turns = Turns(self._loop)

    def end(self) -> None:
        """The program has ended: give back what was added, and leave no key behind."""
        # First: a node that starts now finds no key, and ends.
        self._key_file.unlink(missing_ok=True)
        # A turn that still waits for its place is left: what that grants ends likewise.
        is_over = self._turns.end()
        self._loop.end()
        self._leave_nothing()
        if is_over:
            self._operator.close()

    def _leave_nothing(self) -> None:
        if self._tokens is not None:
            self._tokens.close()
        if self._plan.own_folder:
            shutil.rmtree(self._plan.folder, ignore_errors=True)
            return
        self._key_file.unlink(missing_ok=True)
        (self._plan.folder / growth_file.HEAD).unlink(missing_ok=True)


class ClusterHead:
    """Implements `loop.Head` by asking through this node's raylet."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._numbers: dict[str, int] = {}

    def load(self) -> ClusterLoad:
        """One question."""
        found = self._operator.ask(Load(), ClusterLoad)
        self._numbers = {each.info.node_id: each.info.number for each in found.nodes}
        return found

    def floor(self) -> Sequence[Resources]:
        """What programs have left there."""
        found = self._operator.ask(KvGet(ELASTIC_SPACE, FLOOR_KEY), bytes | None)  # type: ignore[arg-type]
        return [] if found is None else msgspec.json.decode(found, type=list[Resources])

    def resumed(self) -> Sequence[str]:
        """What `rayhpc resume` has left there."""
        found = self._operator.ask(KvGet(ELASTIC_SPACE, RESUME_KEY), object)
        if not isinstance(found, bytes):
            return []
        self._operator.ask(KvDelete(ELASTIC_SPACE, RESUME_KEY), object)
        return msgspec.json.decode(found, type=list[str])

    def drain(self, node_id: str) -> None:
        """To its raylet."""
        number = self._numbers[node_id]
        self._operator.tell(raylet_of(number), Drain("it is idle", 0.0, stays=True))

    def undrain(self, node_id: str) -> None:
        """To its raylet."""
        self._operator.tell(raylet_of(self._numbers[node_id]), Undrain())

    def remember(self, state: bytes) -> None:
        """In the head's key-value store."""
        self._operator.ask(KvPut(ELASTIC_SPACE, STATE_KEY, state), bool)

    def remembered(self) -> bytes | None:
        """From there."""
        return self._operator.ask(KvGet(ELASTIC_SPACE, STATE_KEY), bytes | None)  # type: ignore[arg-type]

    def show(self, status: ElasticStatus) -> None:
        """There, too."""
        put = KvPut(ELASTIC_SPACE, STATUS_KEY, msgspec.json.encode(status))
        self._operator.ask(put, bool)

    def keep_history(self, moments: list[Moment]) -> None:
        """There, too."""
        put = KvPut(ELASTIC_SPACE, HISTORY_KEY, msgspec.json.encode(moments))
        self._operator.ask(put, bool)

    def history(self) -> list[Moment]:
        """From there."""
        found = self._operator.ask(KvGet(ELASTIC_SPACE, HISTORY_KEY), object)
        return msgspec.json.decode(found, type=list[Moment]) if isinstance(found, bytes) else []


def _of_job(run: RunContext, key: ClusterKey, session_dir: str) -> _Plan:
    kind, worker = _kind(run), _worker_type(run)
    name = f"rayhpc-{_job_name(run)}"
    private = Path(session_dir, "growing")  # never made: nothing is written there
    folder = private if kind.hands_over_key else _folder(run, key.cluster_id)
    return _Plan(kind, [worker], folder, name, os.getcwd())


def _of_file(path: Path) -> _Plan:
    told = growth_file.read_growth(path)
    check_types(told.types)
    return _Plan(
        kind=registry.provider(told.provider),
        types=told.types,
        folder=path.parent,
        name=growth_file.provider_name(told.cluster),
        work_dir=told.work_dir,
        own_folder=False,
        options=told.options,
        most=told.most,
    )


def _note_of(run: RunContext, session_dir: str, address: str) -> growth_file.HeadNote:
    return growth_file.HeadNote(
        address=address,
        node_ip=address.rpartition(":")[0],
        hostname=run.place.machine.hostname,
        session_dir=session_dir,
        job=run.place.job,
    )


def _kind(run: RunContext) -> ProviderKind:
    system = run.place.system
    try:
        return registry.provider(system.name)
    except OptionError:
        able = ", ".join(sorted({*registry.names()} & {*systems.names()}))
        raise LaunchError(
            f"--elastic: {system.title} gives a running job no more nodes (these can: {able}); "
            "leave it out, or run inside a job of one of them",
            ExitCode.CONFIGURATION,
        ) from None


def _worker_type(run: RunContext) -> NodeType:
    """One more node like this one."""
    options = run.options
    assert options.elastic is not None
    size = node_config.size_of(run.place, options.node)
    kind = NodeType(
        WORKER,
        _resources(size),
        {**options.node.labels},
        max_nodes=options.elastic - run.role.nodes,
        idle_seconds=options.idle_timeout_s,
    )
    check_types([kind])
    return kind


def _resources(size: NodeSize) -> Resources:
    """What such a node is expected to have; the first that joins corrects it."""
    found = node_config.resources_of(size, NodeOptions(), "", is_head=False)
    return {name: amount for name, amount in found.items() if not name.startswith("node:")}


def _job_name(run: RunContext) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", run.role.name).strip("-")


def _folder(run: RunContext, cluster_id: str) -> Path:
    """A private folder that new nodes see as well.

    Raises:
        LaunchError: none can be made.
    """
    problems = []
    for base in shared_directories(run.place.allocation, run.environ):
        path = base.parent / f".rayhpc-elastic-{cluster_id[:12]}"
        try:
            path.mkdir(mode=0o700)
            return path
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
    raise LaunchError(
        "--elastic needs a directory that new nodes see as well "
        f"({'; '.join(problems) or 'there is none'}): name one with RAYHPC_SHARED_DIR",
        ExitCode.RENDEZVOUS,
    )
