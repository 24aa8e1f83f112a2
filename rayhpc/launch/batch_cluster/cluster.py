"""One cluster of `rayhpc up` on a batch system: what its YAML wants, and how it comes and goes.

Used by `cli.batch_cluster`.  The head does the growing (`launch.elastic`); here it is started and
ended, and what a head that was killed has left behind is cleared away.
"""

from __future__ import annotations

import difflib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from rayhpc.clusters.node_types import head_type, max_workers, worker_types
from rayhpc.clusters.read import ClusterFile
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import growth_file
from rayhpc.launch.batch_cluster.choose_head import head_of
from rayhpc.launch.batch_cluster.head import Condition, Head, Launch, Phase
from rayhpc.launch.growth_file import GrowthFile, HeadNote
from rayhpc.providers import registry
from rayhpc.providers.base import ClusterFacts, Provider, ProviderKind
from rayhpc.providers.node_words import node_words

_KEYS = ("type", "head", "shared_dir")
# After how long an idle node goes back where the file does not say: a queue may give another.
_IDLE_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
# The batch system is asked about the head's job this seldom, while the head has said nothing.
_ASK_S, _LONGEST_ASK_S = 1.0, 30.0
_END_S = 60.0
_TAIL_LINES = 20
Say = Callable[[str], None]


@dataclass(frozen=True)
class BatchCluster:
    """The cluster, its folder, and everything that follows from its file."""

    name: str
    folder: Path
    kind: ProviderKind
    head: Head
    growth: GrowthFile
    launch: Launch

    # -- how it fares
    def condition(self) -> Condition:
        """How its head fares."""
        return self.head.condition()

    def changed(self) -> bool:
        """Whether it was brought up with another file than it has now."""
        return growth_file.growth_in(self.folder) != _as_written(self.growth)

    def serving(self) -> HeadNote:
        """Where its head serves.

        Raises:
            LaunchError: it does not.
        """
        found, note = self.condition(), self.head.note()
        if found.phase is Phase.RUNNING and note is not None:
            return note
        why = f" ({found.why})" if found.why else ""
        raise LaunchError(
            f"the head of cluster {self.name} is {found.phase.value}{why}; `rayhpc up` starts it, "
            f"`rayhpc explain {self.name}` says more",
            ExitCode.HEAD_LOST,
        )

    def provider(self) -> Provider | None:
        """The place that its machines come from, for looking and for ending them.

        None: they are known to the head alone, and gone with it.
        """
        if self.kind.within_heads_job:
            return None
        note = self.head.note()
        facts = ClusterFacts(
            name=growth_file.provider_name(self.name),
            address=note.address if note is not None else "",
            key_file=self.folder / growth_file.KEY,
            folder=self.folder,
            work_dir=self.growth.work_dir,
            options=self.growth.options,
        )
        return self.kind.open(facts, self.growth.types)

    # -- coming and going
    def start(self, say: Say) -> str:
        """Start the head and wait until it serves; returns its address.

        It may wait in a queue for long before.

        Raises:
            LaunchError: it has ended instead; the message has the last lines it wrote.
        """
        is_new = not self.folder.exists()
        try:
            self._launch(say)
        except LaunchError:
            # What an earlier head has left stays, for `down` to find it.
            if is_new and not self._may_run():
                shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self._wait(say).address

    def end(self, say: Say) -> None:
        """End the head and all machines, also of a cluster that is half there.

        Raises:
            LaunchError: something of it is still there.
        """
        self.head.stop()
        _until(_END_S, lambda: self.condition().phase is Phase.GONE, "the head does not end")
        self._clear(say)
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_there(self) -> bool:
        """Whether its nodes have a folder."""
        return self.folder.exists()

    def _launch(self, say: Say) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._clear(say)
            growth_file.write_growth(self.folder, self.growth)
            self.head.start(self.launch)
        except OSError as error:
            raise LaunchError(f"{error.filename}: {error.strerror}", ExitCode.PERMISSION) from None

    def _may_run(self) -> bool:
        """Whether a head may run although starting it has failed, as when ssh was cut off."""
        try:
            return self.condition().phase is not Phase.GONE
        except LaunchError:
            return True

    def _clear(self, say: Say) -> None:
        """What an earlier head has left: its key first, so that nothing starts any more."""
        for name in (growth_file.KEY, growth_file.HEAD):
            (self.folder / name).unlink(missing_ok=True)
        for path in self.folder.glob("lost.*"):
            path.unlink(missing_ok=True)
        provider = self.provider()
        if provider is None:
            return
        ended = 0

        def none_left() -> bool:
            nonlocal ended
            alive = [x.name for x in provider.list() if x.state is not MachineState.ENDED]
            ended = max(ended, len(alive))
            if alive:
                provider.release(alive)
            return not alive

        _until(_END_S, none_left, f"machines of cluster {self.name} do not end")
        if ended:
            say(f"{ended} worker{'s' * (ended != 1)} ended")

    def _wait(self, say: Say) -> HeadNote:
        pause, ask, asked, said = _FIRST_PAUSE_S, _ASK_S, time.monotonic(), ""
        while True:
            note = self.head.note()
            if note is not None:
                return note
            if time.monotonic() - asked >= ask:
                found = self.condition()
                if found.phase is Phase.GONE:
                    raise self._failed(found)
                if found.why != said and found.phase is Phase.WAITING:
                    said = found.why
                    say(f"head: {said}")
                ask, asked = min(2 * ask, _LONGEST_ASK_S), time.monotonic()
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE_S)

    def _failed(self, found: Condition) -> LaunchError:
        lines = last_lines(self.head.log())
        shown = "".join(f"\n    | {line}" for line in lines)
        why = f" ({found.why})" if found.why else ""
        return LaunchError(f"the head has ended{why}{shown}", ExitCode.HEAD_LOST)


def batch_cluster(file: ClusterFile, folder: Path) -> BatchCluster:
    """The cluster that a file describes.

    Args:
        file: its YAML.
        folder: where its record is; below it is what its nodes are to see as well.

    Raises:
        LaunchError: something in it is wrong; the message names the line or the option.
    """
    config = file.config
    options, name = dict(config.provider), config.cluster_name
    for key in options:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KEYS)}"
            raise file.fault(("provider", key), f"there is no {key!r} in this provider; {meant}")
    folder, shared = folder / "growth", options.get("shared_dir")
    if shared is not None:
        folder = Path(os.path.abspath(os.path.expanduser(str(shared))), f".rayhpc-{name}")
    kind = registry.provider(config.provider_type)
    types = worker_types(file, _IDLE_S)
    types = [replace(each, life_seconds=kind.life_seconds(each)) for each in types]
    for each in types:
        kind.job_words(each)
    head_name, head_config = head_type(config)
    head_node = NodeType(head_name, options=head_config.node_config)
    words = kind.job_words(head_node)
    head = head_of(options, kind, folder, head_node)
    work_dir = os.path.dirname(os.path.abspath(file.source))
    launch = Launch(
        name=name,
        folder=folder,
        words=(
            *("--growth", str(folder / growth_file.GROWTH)),
            *(f"{x}={y}" for x, y in node_words(head_config.resources, head_config.labels).items()),
        ),
        setup=(
            *config.initialization_commands,
            *config.setup_commands,
            *config.head_setup_commands,
        ),
        work_dir=work_dir,
    )
    if kind.within_heads_job:
        _check_within(file, kind, head_node, types, launch)
    growth = GrowthFile(
        cluster=name,
        provider=kind.name,
        options=options,
        types=types,
        most=max_workers(config),
        work_dir=work_dir,
        head=[*words, *launch.words, *launch.setup],
    )
    return BatchCluster(name, folder, kind, head, growth, launch)


def _check_within(
    file: ClusterFile, kind: ProviderKind, head: NodeType, types: list[NodeType], launch: Launch
) -> None:
    """Whether the workers can be parts of the head's job.

    Raises:
        ClusterFileError: they are to have another size, or commands are to run first.
    """
    for each in types:
        if each.options and each.options != head.options:
            raise file.fault(
                ("available_node_types", each.name, "node_config"),
                f"with {kind.title} all nodes are parts of the head's job and have its size: give "
                f"{each.name} the node_config of {head.name}, or none",
            )
    if launch.setup or any(each.setup for each in types):
        raise file.fault(
            ("setup_commands",),
            f"{kind.title} runs no commands before a node starts: leave out the set-up commands, "
            "and ship an environment instead, as `archive` in node_config",
        )


def last_lines(path: Path) -> list[str]:
    """The end of a log."""
    try:
        return path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        return []


def _as_written(growth: GrowthFile) -> GrowthFile:
    """As it comes back from its file."""
    return msgspec.json.decode(msgspec.json.encode(growth), type=GrowthFile)


def _until(seconds: float, done: Callable[[], bool], otherwise: str) -> None:
    """Look until something is so.  Raises LaunchError if it is not in time."""
    deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE_S
    while not done():
        if time.monotonic() > deadline:
            raise LaunchError(f"{otherwise} within {seconds:g} s; try again", ExitCode.SCHEDULER)
        time.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE_S)
