"""YARN's report on an application, as a job's state and in sentences.

Used by `jobs`.  Pure.
"""

from __future__ import annotations

import re

from rayhpc.batch.job_status import JobStatus, State
from rayhpc.batch.yarn.application import EXIT_CODE
from rayhpc.hadoop.ids import application_name
from rayhpc.hadoop.messages.applications import (
    ApplicationReportProto,
    YarnApplicationStateProto,
)
from rayhpc.hadoop.messages.records import ApplicationIdProto, FinalApplicationStatusProto

_EXIT_CODE = re.compile(rf"\({re.escape(EXIT_CODE)}(\d+)\)")
_DATE = re.compile(r"^\[[^\]]*\d{4}\] *")
_FAILED_EXIT = 1
_STATES = YarnApplicationStateProto


def status_of(report: ApplicationReportProto) -> JobStatus:
    """A job's state."""
    number = report.applicationId or ApplicationIdProto()
    state = report.yarn_application_state
    started = report.launchTime or report.startTime
    return JobStatus(
        application_name(number),
        _state_of(report),
        _word_of(report),
        reason=_reason(report),
        start=started / 1000 if state == _STATES.RUNNING else None,
        exit_code=exit_code_of(report),
    )


def exit_code_of(report: ApplicationReportProto) -> int | None:
    """The program's exit code, or one that says what happened; None while it has not ended."""
    match = _EXIT_CODE.search(report.diagnostics)
    if match is not None:
        return int(match[1])
    state = _state_of(report)
    if state is State.DONE:
        return 0
    return _FAILED_EXIT if state is State.FAILED else None


def first_sentence(text: str) -> str:
    """The first line of a diagnosis: YARN puts a date before it and stack traces after it."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return _DATE.sub("", first)


def _state_of(report: ApplicationReportProto) -> State:
    state = report.yarn_application_state
    if state == _STATES.RUNNING:
        return State.RUNNING
    if state == _STATES.FINISHED:
        well = report.final_application_status == FinalApplicationStatusProto.APP_SUCCEEDED
        return State.DONE if well else State.FAILED
    if state == _STATES.FAILED:
        return State.FAILED
    return State.CANCELLED if state == _STATES.KILLED else State.PENDING


def _word_of(report: ApplicationReportProto) -> str:
    """YARN's word for the state.  An application that has unregistered is FINISHED, whatever its
    program did: then it is the final state (SUCCEEDED, FAILED) that tells.
    """
    state, final = report.yarn_application_state, report.final_application_status
    if state == _STATES.FINISHED and final != FinalApplicationStatusProto.APP_UNDEFINED:
        return getattr(final, "name", str(final)).removeprefix("APP_")
    return getattr(state, "name", str(state))


def _reason(report: ApplicationReportProto) -> str:
    if report.yarn_application_state == _STATES.RUNNING or report.diagnostics == "N/A":
        return ""
    return _EXIT_CODE.sub("", first_sentence(report.diagnostics)).strip()
