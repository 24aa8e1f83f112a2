"""The submit side of YARN: applications by RPC, their output by HTTP, no Java.

Created by `system`.  A job's folder stays on this machine: the nodes' output is fetched into it
(`logs`), so that all commands for jobs find it where they look.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rayhpc.batch.errors import OptionError, SchedulerError
from rayhpc.batch.folder import JobFolder
from rayhpc.batch.follow import Follower, World
from rayhpc.batch.job_status import Explanation, JobStatus, Say, ended_status
from rayhpc.batch.request import JobRequest
from rayhpc.batch.system import BatchSystem, Jobs
from rayhpc.batch.terminal import emit, line_for, nowhere
from rayhpc.batch.yarn import document, explaining, rendering, staging, words
from rayhpc.batch.yarn.application import (
    FILE,
    RESOURCES,
    Application,
    Resource,
    encode_resources,
)
from rayhpc.batch.yarn.checking import check
from rayhpc.batch.yarn.document import Document
from rayhpc.batch.yarn.logs import latest_attempt
from rayhpc.batch.yarn.memory_rule import counts_shared
from rayhpc.batch.yarn.session import Session
from rayhpc.batch.yarn.staging import Staging
from rayhpc.batch.yarn.submission import Terms, submission_context
from rayhpc.batch.yarn.watching import STAGED, Watch
from rayhpc.hadoop.client import Client
from rayhpc.hadoop.errors import ConfigurationError, HadoopError
from rayhpc.hadoop.ids import application_name, parse_application
from rayhpc.hadoop.resource_managers import MASTERS, addresses
from rayhpc.hadoop.resources import Size

# States that YARN has no word for.
_ELSEWHERE = (
    *("account", "qos", "reservation", "exclusive", "no_kill", "output"),
    *("conda", "modules", "setup", "container"),
)
_KILL_S = 30.0
_KILL_PAUSE_S = 0.1
# YARN starts a second ApplicationMaster seconds after the first one ended, once it notices.
_HOLD_S = 60.0


class YarnJobs(Jobs):
    """The jobs of a YARN cluster."""

    without = _ELSEWHERE

    def __init__(self, system: BatchSystem) -> None:
        super().__init__(system)
        self._own_master: subprocess.Popen[bytes] | None = None

    @functools.cached_property
    def _session(self) -> Session:
        """One for all that is asked: with Kerberos it begins with a token, which then lasts a day,
        whatever becomes of the ticket.
        """
        return Session(os.environ)

    def render(self, request: JobRequest, folder: JobFolder) -> str:
        """Render the application's YAML."""
        for name in ("array", "dependency"):
            if getattr(request, name) is not None:
                raise OptionError(f"--{name}: YARN has none; submit the tasks one after another")
        options = words.parse(request.further.get(self.system.name, ()))
        kind = options.staging
        with _in_our_words():
            if kind == "auto":
                kind = staging.choose(kind, self._session.configuration)
            template = self.system.template
            return rendering.render_yaml(template, request, options, kind)

    def submit(self, request: JobRequest, folder: JobFolder, script: str) -> str:
        """Check the request, stage its files, submit the application."""
        folder.script.write_text(script)
        wanted = document.read(script)
        options = words.parse(request.further.get(self.system.name, ()))
        with _in_our_words():
            session = self._session
            if options.unmanaged and session.configuration.is_secure:
                raise OptionError(
                    "--yarn --unmanaged: with Kerberos YARN does not hand out the "
                    "ApplicationMaster's token; leave --unmanaged out"
                )
            new = session.client.new_application()
            assert new.application_id is not None
            check(wanted, Size.of(new.maximumCapability), session.client)
            name = application_name(new.application_id)
            below = f"{options.staging_dir or '.rayhpc'}/{name}"
            place = staging.open_staging(
                wanted.staging, session.configuration, session.web, folder.path, below
            )
            (folder.path / STAGED).write_text(json.dumps([wanted.staging, below]))
            try:
                application = _application(wanted, session)
                resources = _stage(place, wanted, application)
                context = submission_context(
                    new.application_id,
                    application,
                    [*resources, place.put(RESOURCES, encode_resources(resources))],
                    _terms(wanted),
                    session.credentials(),
                    unmanaged=options.unmanaged,
                )
                session.client.submit(context)
            except BaseException as error:
                _remove(place, below, error)
                raise
        if options.unmanaged:
            from rayhpc.batch.yarn import unmanaged

            self._own_master = unmanaged.start(folder, name, application, resources)
        return name

    def follow(self, folder: JobFolder, say: Say, quiet: bool = False) -> int:
        """Follow a job to its end, fetching the nodes' output meanwhile."""
        with _in_our_words():
            self._session.say = say
            watch = Watch(folder, self._session, say)
            if not ended_status(folder):
                _ = self._session.client  # without a ticket it ends here, not again and again
        world = World(
            _in_our_words()(watch.status),
            lambda: self.cancel([folder]),
            nowhere if quiet else emit,
            say,
            self.system.title,
            pause=watch.pause,
            has_news=watch.is_over,
            show=line_for(os.environ),
        )
        if self._own_master is None:
            return Follower(folder, world).run()
        world.pause = lambda seconds: self._watch_own_master(folder, watch, seconds)
        try:
            return Follower(folder, world).run()
        except KeyboardInterrupt:
            say("the job ends with this command: its ApplicationMaster is here")
            return 128 + signal.SIGINT
        finally:
            self._end_own_master(folder)

    def status(self, folders: Sequence[JobFolder]) -> dict[str, JobStatus]:
        """The state from the ResourceManager; for jobs that have ended, from the folder."""
        found: dict[str, JobStatus] = {}
        for folder in folders:
            status = ended_status(folder) or self._ask(folder)
            if status is not None:
                found[folder.record().id] = status
        return found

    def fetch_output(self, folder: JobFolder, say: Say) -> None:
        """Fetch what the nodes have written so far."""
        try:
            Watch(folder, self._session, say).look()
        except (HadoopError, OSError) as error:
            say(f"what is shown may not be all: {error}")

    def cancel(self, folders: Sequence[JobFolder]) -> None:
        """Have YARN kill the jobs."""
        with _in_our_words():
            client = self._session.client
            for folder in folders:
                _kill(client, folder.record().id)

    def explain(self, folder: JobFolder) -> Explanation:
        """Explain a job's state from its report, its queue and the nodes."""
        with _in_our_words():
            return explaining.explain(folder, self._session.client)

    def on_head(self, folder: JobFolder, command: Sequence[str], terminal: bool) -> list[str]:
        """Run a command on the head's node, by ssh if need be: YARN runs nothing in a container."""
        job = folder.record().id
        with _in_our_words():
            place = latest_attempt(self._session, job)
        if place is None:
            raise SchedulerError(f"job {job} has no container: it waits, or has ended")
        host = place.web.rpartition(":")[0]
        if _is_here(host):
            return list(command)
        return ["ssh", *(["-t"] if terminal else []), host, "--", shlex.join(command)]

    def _watch_own_master(self, folder: JobFolder, watch: Watch, seconds: float) -> None:
        """Watch an unmanaged master: YARN would notice its death only after ten minutes."""
        assert self._own_master is not None
        watch.pause(seconds)
        if self._own_master.poll() is not None and not watch.has_ended():
            self.cancel([folder])

    def _end_own_master(self, folder: JobFolder) -> None:
        """End an unmanaged master, and with it the application."""
        assert self._own_master is not None
        self._own_master.terminate()
        try:
            self._own_master.wait(_KILL_S)
        except subprocess.TimeoutExpired:
            self._own_master.kill()
        self.cancel([folder])

    def _ask(self, folder: JobFolder) -> JobStatus | None:
        with _in_our_words():
            return Watch(folder, self._session, lambda _: None).look()


def _application(wanted: Document, session: Session) -> Application:
    size, program = wanted.containers, wanted.program
    return Application(
        name=wanted.application.name,
        command=program.command,
        nodes=size.nodes,
        needed=size.needed,
        python=program.python,
        memory_mib=size.memory,
        vcores=size.vcores,
        gpus=size.gpus,
        node_label=wanted.application.node_label,
        directory=program.directory,
        options=program.options,
        environment=wanted.environment,
        managers=addresses(session.configuration, MASTERS),
        restarts=size.restarts,
        gather_s=size.gather,
        start_timeout_s=size.start_timeout,
        hold_s=_HOLD_S if wanted.application.attempts > 1 else 0.0,
        counts_shared=counts_shared(session.configuration),
        lifetime_s=wanted.application.lifetime,
    )


def _terms(wanted: Document) -> Terms:
    told = wanted.application
    return Terms(
        queue=told.queue,
        priority=told.priority,
        tags=tuple(told.tags),
        view_acl=told.view_acl,
        modify_acl=told.modify_acl,
        lifetime_s=told.lifetime,
        attempts=told.attempts,
    )


def _stage(place: Staging, wanted: Document, application: Application) -> list[Resource]:
    """Stage the files of every container."""
    shared = [place.put(FILE, application.encode())]
    for file in wanted.files:
        shared.append(place.put_file(file.name, Path(file.source), file.unpack))
    return shared


def _remove(place: Staging, below: str, why: BaseException) -> None:
    """Remove what was staged for a submission that has failed.

    Raises SchedulerError with the reason `why`, and what is left, if that does not work either.
    """
    try:
        place.remove()
    except (HadoopError, OSError, SchedulerError):
        raise SchedulerError(f"{why}; what was staged for it is still at {below}") from None


def _kill(client: Client, job: str) -> None:
    """Kill an application and wait until it is dead; YARN answers earlier."""
    deadline = time.monotonic() + _KILL_S
    while not client.kill(parse_application(job), "rayhpc cancel"):
        if time.monotonic() > deadline:
            raise SchedulerError(f"YARN has not ended {job} within {_KILL_S:g} s")
        time.sleep(_KILL_PAUSE_S)


def _is_here(host: str) -> bool:
    """Whether an address belongs to this machine."""
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """Turn Hadoop's failures into the commands' errors, with their exit codes."""
    try:
        yield
    except ConfigurationError as error:
        raise OptionError(str(error)) from None
    except HadoopError as error:
        raise SchedulerError(str(error)) from None
    except OSError as error:
        raise SchedulerError(f"YARN cannot be reached: {error}") from None
