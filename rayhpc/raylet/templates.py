"""Templates: fork servers that have imported what a job's driver had imported.

Used by `workers`, which asks from what to fork a worker.  Nothing depends on a template: while it
is not ready for long, is unfit or has died, workers are forked from the bare server and do their
own imports.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Protocol

from rayhpc.raylet import forkserver_messages as messages
from rayhpc.raylet.environments import Prepared
from rayhpc.wire.messages.common import JobConfig

logger = logging.getLogger("rayhpc")

# How long workers wait for a template that is still importing before they are forked without it.
PATIENCE_S = 10.0
# A program may use any number of runtime environments: unused templates beyond this number go.
MOST = 8

TemplateKey = tuple[int, bytes]
STARTING, READY, GONE = "starting", "ready", "gone"


class ChannelLike(Protocol):
    """The raylet's end of a template's socket pair (`forkserver.Channel`)."""

    def close(self) -> None:
        """The template ends, with its workers."""


class Template:
    """One template; `workers` are the numbers of the living workers forked from it."""

    def __init__(self, key: TemplateKey, channel: ChannelLike, now: float) -> None:
        self.key = key
        self.channel = channel
        self.started = now
        self.state = STARTING
        self.is_retired = False
        self.workers: set[int] = set()


class Templates:
    """All templates of a node, by job and runtime environment.

    Args:
        make: starts a template and returns its channel (the fork server does the work).
        now: the time in seconds, monotonic.
    """

    def __init__(
        self, make: Callable[[messages.MakeTemplate], ChannelLike], now: Callable[[], float]
    ) -> None:
        self._make = make
        self._now = now
        self._templates: dict[TemplateKey, Template] = {}

    def prepare(self, job: JobConfig, environment: bytes, prepared: Prepared) -> None:
        """Start the template for a job's workers, if they would benefit from one."""
        key = (job.number, environment)
        if key in self._templates or not job.preload:
            return
        self._make_room()
        wanted = messages.MakeTemplate(
            [*prepared.path, *job.path],
            list(job.preload),
            prepared.environ,
            prepared.folder or job.folder,
        )
        self._templates[key] = Template(key, self._make(wanted), self._now())

    def source(self, key: TemplateKey) -> Template | None:
        """The template to fork a worker from; None: the bare server."""
        template = self._templates.get(key)
        return template if template is not None and template.state == READY else None

    def is_worth_waiting(self, key: TemplateKey) -> bool:
        """Whether a template is still importing, and has not taken too long yet."""
        template = self._templates.get(key)
        return (
            template is not None
            and template.state == STARTING
            and self._now() - template.started < PATIENCE_S
        )

    def deadline(self) -> float | None:
        """When the first template still importing will have taken too long."""
        now = self._now()
        times = [
            limit
            for x in self._templates.values()
            if x.state == STARTING and (limit := x.started + PATIENCE_S) > now
        ]
        return min(times, default=None)

    def with_channel(self, channel: ChannelLike) -> Template | None:
        """The template at the other end of a channel."""
        return next((x for x in self._templates.values() if x.channel is channel), None)

    def on_ready(self, template: Template, message: messages.Ready) -> None:
        """A template has imported everything it could."""
        if template.state == STARTING:
            template.state = READY
        if message.skipped:
            logger.info(
                "job %d: not preloaded: %s",
                template.key[0],
                ", ".join(message.skipped),
            )

    def on_unfit(self, template: Template, message: messages.Unfit) -> None:
        """A template cannot fork: its job's workers do their own imports."""
        template.state = GONE
        logger.warning(
            "workers of job %d start without preloaded modules, which costs them more time "
            "and memory: module %s makes forking unsafe (%s)",
            template.key[0],
            message.module,
            message.reason,
        )

    def on_gone(self, template: Template) -> None:
        """A template's process has ended; its workers end with it and are reported individually."""
        template.state = GONE
        template.channel.close()

    def on_worker_gone(self, number: int) -> None:
        """A worker has ended, whatever template it came from."""
        for template in list(self._templates.values()):
            template.workers.discard(number)
            self._close_if_done(template)

    def retire(self, job: int) -> None:
        """A job has ended: its templates exit with their last worker."""
        for template in list(self._templates.values()):
            if template.key[0] == job:
                template.is_retired = True
                self._close_if_done(template)

    def _make_room(self) -> None:
        """Drop the oldest unused templates, if there are many."""
        unused = [x for x in self._templates.values() if not x.workers and x.state != STARTING]
        for template in unused[: max(0, len(self._templates) + 1 - MOST)]:
            template.state = GONE
            template.channel.close()
            del self._templates[template.key]

    def _close_if_done(self, template: Template) -> None:
        if template.is_retired and not template.workers:
            template.state = GONE
            template.channel.close()
            del self._templates[template.key]


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """The two ends for a template: the raylet's, and the one that is sent to the fork server."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
