"""The node's worker processes: spawning, killing, their output and their deaths.

Used by `os_io`.  The raylet (`node`) decides; here its orders become messages to the fork server or
a template, and their reports become events for the raylet.
"""

from __future__ import annotations

import logging
import os
import signal

from rayhpc.raylet import forkserver_messages as messages
from rayhpc.raylet.config import INTERNAL
from rayhpc.raylet.descriptors import Descriptors
from rayhpc.raylet.environments import Prepared
from rayhpc.raylet.forkserver import Channel, ForkServer
from rayhpc.raylet.logs import Logs
from rayhpc.raylet.node import Raylet
from rayhpc.raylet.templates import Template, socket_pair

logger = logging.getLogger("rayhpc")

END_PATIENCE_S = 6.0


class TemplateChannel:
    """A template's channel, which the loop watches until it is closed."""

    def __init__(self, channel: Channel, descriptors: Descriptors) -> None:
        self.channel = channel
        self._descriptors = descriptors

    def close(self) -> None:
        """The template ends, with its workers."""
        if self.channel.fileno() >= 0:
            self._descriptors.unwatch(self.channel.fileno())
            self.channel.close()


class Processes:
    """All workers as processes.

    Args:
        server: the fork server.
        logs: reads what workers print.
        descriptors: what the loop polls.
    """

    def __init__(self, server: ForkServer, logs: Logs, descriptors: Descriptors) -> None:
        self._server = server
        self._logs = logs
        self._descriptors = descriptors
        self._raylet: Raylet | None = None
        self._channels: dict[int, Channel] = {}
        self._pids: dict[int, int] = {}
        self._doomed: set[int] = set()
        descriptors.watch(server.fileno(), self._serve_server)

    def belong_to(self, raylet: Raylet) -> None:
        """Set the raylet whose processes these are, before the loop first runs."""
        self._raylet = raylet

    # -- the raylet's orders --------------------------------------------------------------------
    def spawn(
        self, number: int, args: bytes, prepared: Prepared, template: Template | None
    ) -> None:
        """Fork worker `number`, from a template or the bare server.

        Raises:
            OSError: this process has too many open files.
        """
        channel: Channel = self._server
        if template is not None and isinstance(template.channel, TemplateChannel):
            channel = template.channel.channel
        out, out_end = os.pipe2(os.O_CLOEXEC)
        try:
            error, error_end = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(out)
            os.close(out_end)
            raise
        for descriptor in self._logs.add(number, out, error):
            self._descriptors.watch(descriptor, lambda x=descriptor: self._read_log(x))  # type: ignore[misc]
        self._channels[number] = channel
        command = messages.Spawn(number, args, prepared.environ, prepared.folder)
        channel.send(command, [out_end, error_end])
        self._flush(channel)

    def kill(self, number: int) -> None:
        """Kill worker `number`, now or as soon as it has a pid."""
        pid = self._pids.get(number)
        channel = self._channels.get(number)
        if pid is None or channel is None:
            self._doomed.add(number)
        elif not channel.is_closed:
            channel.send(messages.Signal(pid, signal.SIGKILL))
            self._flush(channel)

    def make_template(self, wanted: messages.MakeTemplate) -> TemplateChannel:
        """Start a template."""
        mine, its = socket_pair()
        self._server.send(wanted, [its.detach()])
        self._flush(self._server)
        channel = Channel(mine)
        made = TemplateChannel(channel, self._descriptors)
        self._descriptors.watch(channel.fileno(), lambda: self._serve_template(made))
        return made

    def read_output(self, number: int) -> None:
        """Deliver what a worker has printed by now."""
        self._logs.read_waiting(number)

    def output_deadline(self) -> float | None:
        """When `output_on_time` has something to do; None: not before there is output."""
        return self._logs.deadline()

    def output_on_time(self) -> None:
        """Deliver unfinished lines that do not continue."""
        self._logs.on_time()

    def drain_output(self, number: int) -> None:
        """Deliver everything that a dead worker has printed."""
        for descriptor in [x.descriptor for x in self._logs.streams.values() if x.number == number]:
            self._descriptors.unwatch(descriptor)
        self._logs.drain(number)

    def forget(self, number: int) -> None:
        """A worker's process is gone."""
        self._channels.pop(number, None)
        self._pids.pop(number, None)
        self._doomed.discard(number)

    def finish(self) -> None:
        """End all workers and the fork server; returns when they are gone (bounded)."""
        self._descriptors.unwatch(self._server.fileno())
        if not self._server.finish(END_PATIENCE_S):
            logger.error("the fork server did not end and was killed")
        self._logs.close()

    # -- reports of the fork server -------------------------------------------------------------
    def _serve_server(self) -> None:
        self._flush(self._server)
        for event in self._server.events():
            self._take(event)
        if self._server.is_closed:
            self._descriptors.unwatch(self._server.fileno())
            self._node.end(INTERNAL, "the fork server has ended, and all workers with it")

    def _serve_template(self, made: TemplateChannel) -> None:
        node = self._node
        self._flush(made.channel)
        for event in made.channel.events():
            template = node.templates.with_channel(made)
            if isinstance(event, messages.Ready) and template is not None:
                node.templates.on_ready(template, event)
            elif isinstance(event, messages.Unfit) and template is not None:
                node.templates.on_unfit(template, event)
            else:
                self._take(event)
        if made.channel.is_closed:
            self._template_gone(made)
        node.workers.advance()

    def _template_gone(self, made: TemplateChannel) -> None:
        self._descriptors.unwatch(made.channel.fileno())
        template = self._node.templates.with_channel(made)
        if template is not None:
            self._node.templates.on_gone(template)
        unborn = [
            number
            for number, channel in self._channels.items()
            if channel is made.channel and number not in self._pids
        ]
        for number in unborn:
            self._spawn_failed(number, "its template has ended")

    def _take(self, event: messages.Event) -> None:
        if isinstance(event, messages.Spawned):
            self._pids[event.number] = event.pid
            self._node.workers.on_spawned(event.number, event.pid)
            if event.number in self._doomed:
                self.kill(event.number)
        elif isinstance(event, messages.SpawnFailed):
            self._spawn_failed(event.number, event.reason)
        elif isinstance(event, messages.Ended):
            self._node.worker_ended(event.pid, event.status)

    def _spawn_failed(self, number: int, reason: str) -> None:
        self.drain_output(number)
        self.forget(number)
        self._node.workers.on_spawn_failed(number, reason)

    def _read_log(self, descriptor: int) -> None:
        if not self._logs.read(descriptor):
            self._descriptors.unwatch(descriptor)

    def _flush(self, channel: Channel) -> None:
        self._descriptors.want_write(channel.fileno(), channel.flush())

    @property
    def _node(self) -> Raylet:
        assert self._raylet is not None
        return self._raylet
