"""Exceptions sent between processes: as bytes, with the remote traceback.

Used by `execution`, `actor`, `failures` (dump) and `getting` (load).  Whatever the user's code
raised arrives: as itself if it can be pickled and rebuilt, otherwise as readable text.
"""

from __future__ import annotations

import os
import pickle
import traceback
from types import TracebackType

import cloudpickle

import rayhpc.runtime
from rayhpc.exceptions import RayError, RaySystemError, RayTaskError, UserCodeException

_NAME_WITHIN = 64
# Ray's words, which programs look for.
_OF_ARGUMENT = "At least one of the input arguments for this task could not be computed:\n"
_RUNTIME = os.path.dirname(os.path.abspath(rayhpc.runtime.__file__)) + os.sep


def dump_error(
    error: BaseException,
    *,
    function_name: str,
    pid: int,
    ip: str,
    actor_repr: str | None,
    of_argument: bool = False,
) -> bytes:
    """What the user's code raised, in the form an entry of the reference table holds.

    Args:
        error: the exception.
        function_name: what ran, or was to run.
        pid: its process.
        ip: its node's.
        actor_repr: how its actor shows itself; None: it is none.
        of_argument: the error is an argument's; the code did not run.
    """
    text = f"{_OF_ARGUMENT}{format_remote(error)}" if of_argument else format_remote(error)
    cause: BaseException = error
    if isinstance(error, RayTaskError):
        # A failure passed on by a `get`: its own cause remains the cause, its text is part of ours.
        cause = error.cause or error
    wrapped = RayTaskError(function_name, text, _sendable(cause), pid, ip, actor_repr)
    return bytes(cloudpickle.dumps(wrapped, 5))


def dump_system_error(error: RayError) -> bytes:
    """An error of rayhpc's own."""
    return pickle.dumps(error, 5)


def is_task_error(data: bytes) -> bool:
    """Whether a stored error is a RayTaskError, without rebuilding it: its class is the first name
    in the pickle, and unpickling the user's exception would run user code.
    """
    return data.find(b"RayTaskError", 0, _NAME_WITHIN) >= 0


def load_error(data: bytes) -> BaseException:
    """The exception to raise for a stored error."""
    try:
        error = pickle.loads(data)
    except Exception as problem:
        return RaySystemError(
            f"A task failed, and its exception cannot be rebuilt here "
            f"({type(problem).__name__}: {problem}). Is its module importable in this process?"
        )
    if isinstance(error, RayTaskError):
        return error.as_instanceof_cause()
    if isinstance(error, BaseException):
        return error
    return RaySystemError(f"A task failed with {error!r}, which is not an exception.")


def format_remote(error: BaseException) -> str:
    """The traceback as text, without the runtime's own frames."""
    shown = error.with_traceback(_user_frames(error.__traceback__))
    try:
        return "".join(traceback.format_exception(type(shown), shown, shown.__traceback__)).rstrip()
    except Exception as problem:  # an exception whose own __str__ raises
        return f"{type(error).__name__} (its text cannot be had: {type(problem).__name__})"


def _user_frames(trace: TracebackType | None) -> TracebackType | None:
    """Skip the runtime's frames at the outer end; all of them stay if there are no others."""
    found = trace
    while found is not None and found.tb_frame.f_code.co_filename.startswith(_RUNTIME):
        found = found.tb_next
    return found or trace


def _sendable(cause: BaseException) -> BaseException:
    """The exception itself if it survives pickling, otherwise one that shows it."""
    try:
        again = pickle.loads(cloudpickle.dumps(cause, 5))
        if type(again) is type(cause):
            return cause
    except Exception:
        pass
    try:
        shown = f"{type(cause).__name__}: {cause}"
    except Exception:
        shown = type(cause).__name__
    return UserCodeException(
        f"{shown} (the original cause of the error, of type {type(cause).__name__}, isn't "
        "serializable: it cannot be pickled)"
    )
