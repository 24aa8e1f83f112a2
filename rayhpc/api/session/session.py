"""Joining and leaving a cluster: `init`, `shutdown`, `is_initialized`.

Used by users, and by every call that needs a cluster before `init` (`rayhpc.api` arranges that).
The embedded cluster itself is in `launch.embedded`, the driver in `runtime.driver`.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from rayhpc.api.objects import waiting_line
from rayhpc.api.session import init_arguments as arguments
from rayhpc.api.session import runtime_env
from rayhpc.api.session.session_context import RayContext, address_info
from rayhpc.api.tasks.given import wrong_type
from rayhpc.exceptions import NotServedError, RaySystemError
from rayhpc.machine import shared_uid
from rayhpc.runtime.process import current, job_setup
from rayhpc.runtime.process.interrupts import inside

logger = logging.getLogger("rayhpc")

ADDRESS_VARIABLES = ("RAYHPC_ADDRESS", "RAY_ADDRESS")
_Environment = tuple[dict[str, Any], dict[str, bytes]]
_LOG_FORMAT = "%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s"


class _Job(NamedTuple):
    """What the program asks of its job."""

    namespace: str | None
    environment: _Environment
    log_to_driver: bool
    plain_lines: bool
    detached: bool


class _Session:
    """What this process has joined."""

    def __init__(self) -> None:
        # Held while joining or leaving; a thread that needs a cluster meanwhile waits for it.
        self.lock = threading.RLock()
        self.embedded: Any = None
        self.context: RayContext | None = None
        # The process that joined: a fork of it has joined nothing.
        self.pid = 0


_session = _Session()


def init(
    address: str | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    memory: int | None = None,
    object_store_memory: int | None = None,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    namespace: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    ignore_reinit_error: bool = False,
    log_to_driver: bool = True,
    logging_level: int | str = logging.INFO,
    logging_format: str | None = None,
    job_config: Any = None,
    logging_config: Any = None,
    **further: Any,
) -> RayContext:
    """Join a cluster, or start a local one for this program only.

    Args:
        address: "auto" (this user's own session on this machine), the head's "ip:port", a session
            directory, "local" (always a new cluster), or None: RAYHPC_ADDRESS if set, else the
            cluster that this user started here with `rayhpc start`, else a new one.
        num_cpus: CPUs of a cluster that is started; None: those of this machine and allocation.
        num_gpus: the same for GPUs.
        memory: bytes that tasks may request.
        object_store_memory: bytes of the object store; None: 30 % of the memory.
        resources: custom resources by name.
        labels: labels of the node.
        namespace: the namespace for actor names; None: one private to this program.
        runtime_env: variables, folder and modules for all tasks and actors.
        ignore_reinit_error: if a cluster was joined before, return its context instead of raising.
        log_to_driver: print what workers print.
        logging_level: of rayhpc's own messages.
        logging_format: of rayhpc's own messages.
        job_config: a `JobConfig` with namespace, environment, default lifetime of actors.
        logging_config: a `LoggingConfig`, for the program's own log records, also in its workers.
        further: arguments for Ray's own processes (dashboard, private ones), accepted without
            effect.

    Raises:
        RuntimeError: called a second time, or an unknown argument.
        ConnectionError: there is no such cluster here; the text says what to do.
        ValueError: an invalid value; TypeError: one of the wrong type.
        NotServedError: ray:// addresses, conda and the like; the text names an alternative.
        RaySystemError: the cluster cannot be started, or it rejects this process.
    """
    arguments.check_unknown(further, _known_arguments())
    sizes = arguments.sizes_of(
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        memory=further.get("_memory") if memory is None else memory,
        object_store_memory=object_store_memory,
        resources=resources,
        labels=labels,
    )
    arguments.check_namespace(namespace)
    if job_config is not None:
        namespace = namespace or getattr(job_config, "ray_namespace", None)
        runtime_env = runtime_env or getattr(job_config, "runtime_env", None)
    with _session.lock:
        if current.is_connected():
            return _again(ignore_reinit_error)
        _log_as(logging_config)
        _set_up_logging(logging_level, logging_format)
        where = _address(address)
        detached = bool(getattr(job_config, "detached", False))
        plain_lines = logging_config is not None
        job = _Job(namespace, _environment(runtime_env), log_to_driver, plain_lines, detached)
        _join(where, sizes, job)
        assert _session.context is not None
        return _session.context


def shutdown(_exiting_interpreter: bool = False) -> None:
    """Leave the cluster; a local one ends.  Does nothing if none was joined."""
    if _session.pid != os.getpid():
        return
    with _session.lock:
        client = current.existing()
        if client is not None and client.is_worker:
            return
        _session.context = None
        waiting_line.disable()
        try:
            if client is not None:
                inside.give_handlers_back()
                current.set_client(None)
                client.close(_exiting_interpreter)
        finally:
            embedded, _session.embedded = _session.embedded, None
            if embedded is not None:
                embedded.stop()


def is_initialized() -> bool:
    """Whether this process is part of a cluster: true in a driver after `init`, and in tasks."""
    return current.is_connected()


def is_worker() -> bool:
    """Whether this process runs tasks or an actor; False in a driver or outside a cluster."""
    process = current.existing()
    return process is not None and process.is_worker


# -- joining ---------------------------------------------------------------------------------------
def _join(where: str, sizes: dict[str, Any], job: _Job) -> None:
    from rayhpc.exit_codes import LaunchError

    if _session.pid != os.getpid():
        _session.pid = os.getpid()
        atexit.register(shutdown, True)
    try:
        if where == "local":
            from rayhpc.launch import embedded

            session = _session.embedded = embedded.start(**sizes, meanwhile=_load_driver)
            session_dir, head = session.session_dir, session.address
            kernel_session = session.kernel_session
        else:
            from rayhpc.launch import sessions

            record = sessions.find(where)
            session_dir, head = record.session_dir, record.address
            kernel_session = shared_uid.expected_session(os.environ)
            _say_that_it_exists(sizes)
    except LaunchError as error:
        raise _translated(error) from error
    try:
        _attach(session_dir, head, job, kernel_session)
    except BaseException:
        shutdown()
        raise


def _load_driver() -> None:
    """Load what attaching needs while the node starts."""
    import rayhpc.runtime.process.driver  # noqa: F401


def _attach(session_dir: str, head: str, job: _Job, kernel_session: int | None) -> None:
    import rayhpc
    from rayhpc.runtime.process import driver

    fields, found = job.environment
    client = driver.connect(
        session_dir,
        namespace=job.namespace or os.urandom(16).hex(),
        environment=runtime_env.canonical(fields),
        log_to_driver=job.log_to_driver,
        plain_lines=job.plain_lines,
        detached=job.detached,
        version=rayhpc.__version__,
        kernel_session=kernel_session,
    )
    inside.take_sigint()
    inside.take_handlers()
    runtime_env.send_packages(client, fields, found)
    facts = client.facts
    info = address_info(
        address=head, node_ip=facts.node_ip, node_id=facts.node_id, session_dir=session_dir
    )
    _session.context = RayContext(info, rayhpc.__version__, shutdown)
    waiting_line.enable(os.environ)


def _again(ignore: bool) -> RayContext:
    """`init` when a cluster has already been joined."""
    if not ignore:
        raise RuntimeError(
            "Maybe you called init() twice by accident? This error can be suppressed by passing in "
            "'ignore_reinit_error=True' or by calling 'shutdown()' prior to 'init()'."
        )
    logger.info("init() was called again; the cluster joined before is kept.")
    if _session.context is None:  # in a worker
        from rayhpc.api.session.runtime_context import get_runtime_context

        facts = current.client().facts
        info = address_info(
            address=get_runtime_context().gcs_address,
            node_ip=facts.node_ip,
            node_id=facts.node_id,
            session_dir=facts.session_dir,
        )
        import rayhpc

        _session.context = RayContext(info, rayhpc.__version__, shutdown)
    return _session.context


def _address(given: str | None) -> str:
    """An address that `launch.sessions.find` accepts, or "local".

    Raises:
        NotServedError: a Ray Client address.
        TypeError: not text.
    """
    if given is not None and not isinstance(given, str):
        raise wrong_type("address", "text", given)
    where = given or ""
    if where in ("", "auto"):
        where = _told_address() or where or _made_by_hand() or "local"
    if "://" in where:
        raise NotServedError(
            f"the address {where!r}",
            "run the program on a node of the cluster (rayhpc submit, rayhpc run) with "
            "address='auto' or the head's ip:port",
        )
    return where


def _told_address() -> str | None:
    """The address in the environment; RAY_ADDRESS counts in programs that use rayhpc as ray."""
    names = ADDRESS_VARIABLES if _is_served_as_ray() else ADDRESS_VARIABLES[:1]
    for name in names:
        if os.environ.get(name):
            return os.environ[name]
    return None


def _made_by_hand() -> str | None:
    """The session a program joins if it names none, as in Ray: one from `rayhpc start`."""
    from rayhpc.launch import sessions

    found = sessions.started_by_hand()
    if found is None:
        return None
    logger.info(
        "Joining the cluster at %s, started on this machine with `rayhpc start`; "
        'init(address="local") starts one for this program only.',
        found.address,
    )
    return found.session_dir


def _is_served_as_ray() -> bool:
    served = sys.modules.get("ray")
    # The shim's module sets it; some programs alias rayhpc itself.
    return served is sys.modules["rayhpc"] or bool(getattr(served, "__rayhpc__", False))


def _environment(given: Mapping[str, Any] | None) -> _Environment:
    """The fields as they are sent, and the packages they name."""
    return runtime_env.packed(runtime_env.checked(given)) if given else ({}, {})


def _say_that_it_exists(sizes: dict[str, Any]) -> None:
    if sizes:
        logger.warning(
            "The cluster exists already and keeps its size: %s of init() had no effect.",
            ", ".join(sorted(sizes)),
        )


def _translated(error: Any) -> Exception:
    from rayhpc.exit_codes import ExitCode

    if error.code == ExitCode.CONFIGURATION:
        return ValueError(str(error))
    return RaySystemError(f"The local cluster could not be started: {error}")


def _log_as(config: Any) -> None:
    """Have the program's records look like this, here and in the job's workers."""
    apply = "rayhpc.logging_config:apply"
    if config is None:
        job_setup.forget(apply)
    else:
        config.apply()
        job_setup.register(apply, config.to_json())


def _set_up_logging(level: int | str, text: str | None) -> None:
    logger.setLevel(level.upper() if isinstance(level, str) else level)
    if not logger.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(text or _LOG_FORMAT))
        logger.addHandler(handler)
        logger.propagate = False


def _known_arguments() -> list[str]:
    import inspect

    found = inspect.signature(init).parameters
    return [name for name in found if name != "further"]
