"""Every error a user of rayhpc can meet; names and class hierarchy are Ray's.

Raised by `api` and `runtime`, and carried between processes by `runtime.errors`.  Each says what
happened, where, and what to do next.

    RayError
    ├─ RayTaskError              the user's code raised; also an instance of what it raised
    ├─ RayActorError             ├─ ActorDiedError, ActorUnavailableError
    ├─ WorkerCrashedError, NodeDiedError, OutOfMemoryError, LocalRayletDiedError
    ├─ TaskCancelledError, GetTimeoutError, PendingCallsLimitExceeded
    ├─ ObjectLostError           ├─ OwnerDiedError, ObjectFreedError, ObjectReconstructionFailed…
    ├─ ObjectStoreFullError, OutOfDiskError
    ├─ TaskUnschedulableError, ActorUnschedulableError, …PlacementGroupRemoved
    └─ RuntimeEnvSetupError, RaySystemError (├─ OtherClusterError), CollectiveGroupError,
       NotServedError
"""

from __future__ import annotations

import contextlib
import logging
import types
from typing import Any

logger = logging.getLogger("rayhpc")


class RayError(Exception):
    """The root of all errors that rayhpc raises."""


class _DescribedError(RayError):
    """An error with an id beside its text; both survive pickling."""

    def __init__(self, text: str = "", identity: str = "") -> None:
        super().__init__(text, identity)
        self.text = text
        self.identity = identity

    def __str__(self) -> str:
        return self.text or type(self).__doc__ or ""


# -- tasks ---------------------------------------------------------------------------------------
class RayTaskError(RayError):
    """The user's code raised an exception in another process.

    What `get` raises is also an instance of the exception's own class, where possible.

    Attributes:
        function_name: the task or method.
        traceback_str: the remote traceback as text.
        cause: the exception itself.
        pid: the process it was raised in.
        ip: the node's address.
    """

    def __init__(
        self,
        function_name: str = "",
        traceback_str: str = "",
        cause: BaseException | None = None,
        pid: int = 0,
        ip: str = "",
        actor_repr: str | None = None,
    ) -> None:
        # Not super(): in a dual class the next in line is the cause's own constructor.
        Exception.__init__(self, function_name, traceback_str, cause, pid, ip, actor_repr)
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.pid = pid
        self.ip = ip
        self.actor_repr = actor_repr

    def as_instanceof_cause(self) -> RayTaskError:
        """This error as an instance of its cause's class too; itself where that is impossible."""
        cause = self.cause
        if cause is None or isinstance(self, type(cause)):
            return self
        if issubclass(type(cause), _NEVER_DUAL):
            return self
        dual = _dual_class(type(cause))
        if dual is not None:
            try:
                made: RayTaskError = dual(self)
            except Exception:  # the cause's class cannot be copied into
                pass
            else:
                return made
        logger.warning(_NOT_DUAL, type(cause).__name__)
        return self

    def __str__(self) -> str:
        where = f"{self.function_name}() (pid={self.pid}, ip={self.ip}"
        if self.actor_repr:
            where += f", actor={self.actor_repr}"
        return f"ray::{where})\n{self.traceback_str}"


def _dual_class(kind: type[BaseException]) -> Any:
    """A class that is both RayTaskError and `kind`; None where Python does not allow that."""
    found = _duals.get(kind)
    if found is None:
        try:
            found = _make_dual(kind)
        except Exception:  # final, or a layout that cannot be combined; a metaclass may raise what
            return None  # it likes
        _duals[kind] = found
    return found


_duals: dict[type[BaseException], Any] = {}
_NEVER_DUAL = (RayTaskError, KeyboardInterrupt, SystemExit, GeneratorExit)
_NOT_DUAL = (
    "%s cannot be subclassed: This exception is raised as RayTaskError only. You can use "
    "`ray_task_error.cause` to access the user exception."
)


def _make_dual(kind: type[BaseException]) -> Any:
    class DualError(RayTaskError, kind):  # type: ignore[misc, valid-type]
        def __new__(cls, error: RayTaskError) -> Any:
            if _is_group(kind):  # the fields that `except*` reads can only be set here
                return kind.__new__(cls, error.cause.message, error.cause.exceptions)  # type: ignore
            return _builtin_base(cls).__new__(cls, error)

        def __init__(self, error: RayTaskError) -> None:
            # Past what the user's class says of setting attributes: it may refuse, or own the name.
            self.__dict__.update(error.__dict__, _error=error)
            _ARGS.__set__(self, getattr(error.cause, "args", ()))
            _copy_c_fields(error.cause, self, kind)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__") or name == "_error":
                raise AttributeError(name)
            return getattr(self._error.cause, name)

        def __str__(self) -> str:
            return str(self._error)

        def __reduce__(self) -> Any:
            return _rebuild_dual, (self._error,)

        def as_instanceof_cause(self) -> RayTaskError:
            return self

    DualError.__name__ = DualError.__qualname__ = f"RayTaskError({kind.__name__})"
    DualError.__doc__ = f"A remote {kind.__name__}."
    return DualError


def _builtin_base(kind: type) -> type:
    """The built-in class whose constructor Python lets a subclass use; it runs no user code."""
    while not isinstance(vars(kind).get("__new__"), types.BuiltinFunctionType):
        assert kind.__base__ is not None
        kind = kind.__base__
    return kind


def _copy_c_fields(source: Any, target: Any, kind: type[BaseException]) -> None:
    """Fields of built-in exceptions (errno, filename, …), which `__getattr__` does not reach."""
    for parent in kind.__mro__:
        for name, field in vars(parent).items():
            # A field that was never set cannot be read either.
            if isinstance(field, _C_FIELDS) and hasattr(source, name) and name[0] != "_":
                with contextlib.suppress(AttributeError):  # read-only: set on construction
                    field.__set__(target, getattr(source, name))


def _is_group(kind: type[BaseException]) -> bool:
    """Whether it is an exception group: the built-in one or, before 3.11, the backport's."""
    return any(x.__name__ == "BaseExceptionGroup" for x in kind.__mro__)


_C_FIELDS = (types.MemberDescriptorType, types.GetSetDescriptorType)
_ARGS = vars(BaseException)["args"]


def _rebuild_dual(error: RayTaskError) -> RayTaskError:
    return error.as_instanceof_cause()


class UserCodeException(RayError):
    """The user's code raised something that can only be shown in this process, not rebuilt."""


class TaskCancelledError(RayError):
    """The task was cancelled."""

    def __init__(self, task_id: str = "", error_message: str = "") -> None:
        super().__init__(task_id, error_message)
        self.task_id = task_id
        self.error_message = error_message

    def __str__(self) -> str:
        return self.error_message or f"Task {self.task_id} was cancelled."


class WorkerCrashedError(RayError):
    """The worker process ended while running the task."""


class NodeDiedError(RayError):
    """The node died while running the task."""


class OutOfMemoryError(RayError):
    """A process was killed because its node was about to run out of memory."""


class LocalRayletDiedError(RayError):
    """This node's raylet has ended, and the cluster on this node with it."""


class GetTimeoutError(RayError, TimeoutError):
    """`get` timed out."""


class PendingCallsLimitExceeded(RayError):
    """The actor's `max_pending_calls` has been reached."""


class TaskUnschedulableError(RayError):
    """No node can ever run the task."""


class TaskPlacementGroupRemoved(RayError):
    """The task's placement group was removed."""


# -- actors --------------------------------------------------------------------------------------
class RayActorError(_DescribedError):
    """The actor cannot be reached.

    Attributes:
        actor_init_failed: whether the actor died in its constructor.
        preempted: whether its node was taken away; batch schedulers do not report that, so False.
    """

    base_error_msg = "The actor experienced an error before finishing this task."
    actor_init_failed = False
    preempted = False

    def __init__(self, text: str = "", identity: str = "", actor_init_failed: bool = False) -> None:
        super().__init__(text, identity)
        # Positional, so that it survives pickling.
        self.args = (text, identity, actor_init_failed)
        self.actor_init_failed = actor_init_failed

    @property
    def actor_id(self) -> str:
        """The actor's id in hex."""
        return self.identity

    @property
    def error_msg(self) -> str:
        """What happened; the same as `str()` of the error."""
        return str(self)


class ActorDiedError(RayActorError):
    """The actor is dead and will not come back."""


class ActorUnavailableError(RayActorError):
    """The actor cannot be reached now; it may come back."""


class ActorUnschedulableError(RayError):
    """No node can ever hold the actor."""


class ActorAlreadyExistsError(RayError, ValueError):
    """The name is taken by another actor of the namespace."""


class ActorHandleNotFoundError(RayError, ValueError):
    """The handle belongs to another cluster or session."""


class ActorPlacementGroupRemoved(RayError):
    """The actor's placement group was removed."""


class AsyncioActorExit(RayError):
    """`exit_actor` was called in an asynchronous actor."""


# -- objects -------------------------------------------------------------------------------------
class ObjectLostError(RayError):
    """Every copy of the object is lost, and it could not be reconstructed."""

    def __init__(self, object_ref_hex: str = "", text: str = "") -> None:
        super().__init__(object_ref_hex, text)
        self.object_ref_hex = object_ref_hex
        self.text = text

    def __str__(self) -> str:
        text = self.text or type(self).__doc__ or ""
        return f"Object {self.object_ref_hex}: {text}"


class OwnerDiedError(ObjectLostError):
    """The process that owned the object has ended, and the object with it."""


class ObjectFreedError(ObjectLostError):
    """The object was freed: nobody held a reference to it any more."""


class ObjectFetchTimedOutError(ObjectLostError):
    """The object could not be fetched in time."""


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The object was freed while a reference to it existed: a bug in rayhpc."""


class ObjectReconstructionFailedError(ObjectLostError):
    """The object could not be reconstructed from its lineage."""


class ObjectReconstructionFailedMaxAttemptsExceededError(ObjectReconstructionFailedError):
    """The object's task has no retries left (`max_retries`)."""


class ObjectReconstructionFailedLineageEvictedError(ObjectReconstructionFailedError):
    """Something needed to reconstruct the object is gone."""


class ObjectStoreFullError(RayError):
    """There is no room in the object store; the text lists what occupies it."""


class PlasmaObjectNotAvailable(RayError):
    """Kept so that programs can name it: rayhpc fetches objects to where they are read."""


class OutOfDiskError(RayError):
    """There is no room on the disk to which objects are spilled."""


# -- the system ----------------------------------------------------------------------------------
class RaySystemError(RayError):
    """The runtime cannot do what was asked; the text says why."""


class OtherClusterError(RaySystemError, ValueError):
    """A reference, actor or placement group of a cluster that this program has left."""


class RuntimeEnvSetupError(RayError):
    """The task's or actor's runtime environment could not be set up."""


class AuthenticationError(RaySystemError):
    """The cluster did not accept this process's key."""


class CrossLanguageError(RayError):
    """Another language was asked for; rayhpc supports only Python."""


class RayChannelError(RaySystemError):
    """Compiled graphs are not served; kept so that programs can name it."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """Compiled graphs are not served; kept so that programs can name it."""


class RayCgraphCapacityExceeded(RaySystemError):
    """Compiled graphs are not served; kept so that programs can name it."""


class CollectiveGroupError(RayError, RuntimeError):
    """A collective operation cannot complete: a member died, left, or did not arrive in time."""


class NotServedError(RayError, NotImplementedError):
    """Part of Ray that rayhpc does not serve.

    Args:
        what: the name that was used.
        alternative: what to do instead.
    """

    def __init__(self, what: str, alternative: str) -> None:
        super().__init__(what, alternative)
        self.what = what
        self.alternative = alternative

    def __str__(self) -> str:
        return f"rayhpc does not serve {self.what}: {self.alternative}."


__all__ = [
    "ActorAlreadyExistsError",
    "ActorDiedError",
    "ActorHandleNotFoundError",
    "ActorPlacementGroupRemoved",
    "ActorUnavailableError",
    "ActorUnschedulableError",
    "AsyncioActorExit",
    "AuthenticationError",
    "CollectiveGroupError",
    "CrossLanguageError",
    "GetTimeoutError",
    "LocalRayletDiedError",
    "NodeDiedError",
    "NotServedError",
    "ObjectFetchTimedOutError",
    "ObjectFreedError",
    "ObjectLostError",
    "ObjectReconstructionFailedError",
    "ObjectReconstructionFailedLineageEvictedError",
    "ObjectReconstructionFailedMaxAttemptsExceededError",
    "ObjectStoreFullError",
    "OtherClusterError",
    "OutOfDiskError",
    "OutOfMemoryError",
    "OwnerDiedError",
    "PendingCallsLimitExceeded",
    "PlasmaObjectNotAvailable",
    "RayActorError",
    "RayCgraphCapacityExceeded",
    "RayChannelError",
    "RayChannelTimeoutError",
    "RayError",
    "RaySystemError",
    "RayTaskError",
    "ReferenceCountingAssertionError",
    "RuntimeEnvSetupError",
    "TaskCancelledError",
    "TaskPlacementGroupRemoved",
    "TaskUnschedulableError",
    "UserCodeException",
    "WorkerCrashedError",
]
