"""Errors as classes: those that the server raises, by SQLSTATE, and those between a worker and its handlers."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, TypeAlias

import psycopg

Duration: TypeAlias = timedelta | float | str
"""A time span: a timedelta, a number of seconds, or what Postgres reads as an interval ('3 days')."""


class WorkflowError(Exception):
    """An error that the server has raised."""

    default_sqlstate: ClassVar[str | None] = None

    def __init__(
        self, message: str, *, sqlstate: str | None = None, detail: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate or self.default_sqlstate
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message]
        if self.detail:
            lines.append(f"DETAIL: {self.detail}")
        if self.hint:
            lines.append(f"HINT: {self.hint}")
        return "\n".join(lines)


class NotFound(WorkflowError):
    """There is no instance of this id, or no such task (42704)."""


class UnknownWorkflow(WorkflowError):
    """There is no such workflow (42883)."""


class AlreadyExists(WorkflowError):
    """The id is in use (42710)."""


class InvalidArgument(WorkflowError):
    """An argument is wrong, or the input does not fit (22023)."""


class PermissionDenied(WorkflowError):
    """It is not the caller's (42501)."""


class WrongState(WorkflowError):
    """The instance is not in a state for that: it has ended, or it has not (55000)."""


class NotEnded(WrongState):
    """``result`` has waited long enough (55000)."""


class TooLarge(WorkflowError):
    """Input, result or signal is too large (54000)."""


class WorkflowFailed(WorkflowError):
    """The workflow has failed, with an error of its own or one of those below."""


class ReplayDiverged(WorkflowFailed):
    """A replay took another path than its history (WF001)."""


class WorkflowCancelled(WorkflowFailed):
    """The instance was cancelled (WF002)."""


class WorkflowTimeout(WorkflowFailed):
    """The run did not start or end in time (WF003)."""


class StepTimeout(WorkflowFailed):
    """A step or task did not end in time (WF004)."""


class VersionLost(WorkflowFailed):
    """The version of the code cannot be restored (WF005)."""


class MapFailed(WorkflowFailed):
    """More items of a map have failed than are tolerated (WF006)."""


class TaskLost(WorkflowFailed):
    """A task was lost by its worker (WF007)."""


class QueueFull(WorkflowFailed):
    """A queue was full: that of ``start``, or, from ``result``, that of a step, task or the instance (WF009)."""


class TaskFailed(WorkflowFailed):
    """Raised by a handler: the attempt has failed. Raised by ``result``: the workflow has failed for that (WF008).

    retryable: may it be tried again, if the task's retry policy agrees. delay: until the next attempt, in place of the
    policy's wait. sqlstate: by which the workflow may know the error.
    """

    default_sqlstate = "WF008"

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = True,
        delay: Duration | None = None,
        sqlstate: str | None = None,
        detail: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, sqlstate=sqlstate, detail=detail, hint=hint)
        self.retryable = retryable
        self.delay = delay


class TaskCancelled(Exception):
    """Raised in a handler by ``task.heartbeat``: the task is to be given up."""


# What a run fails with.
_OF_RUNS: dict[str, type[WorkflowError]] = {
    "WF001": ReplayDiverged,
    "WF002": WorkflowCancelled,
    "WF003": WorkflowTimeout,
    "WF004": StepTimeout,
    "WF005": VersionLost,
    "WF006": MapFailed,
    "WF007": TaskLost,
    "WF008": TaskFailed,
    "WF009": QueueFull,
}

# What a call is refused with.
_OF_CALLS: dict[str, type[WorkflowError]] = {
    "22004": InvalidArgument,
    "22023": InvalidArgument,
    "42501": PermissionDenied,
    "42704": NotFound,
    "42710": AlreadyExists,
    "42883": UnknownWorkflow,
    "54000": TooLarge,
    "55000": WrongState,
    **_OF_RUNS,
}


def _made(kind: type[WorkflowError], error: psycopg.Error) -> WorkflowError:
    diag = error.diag
    return kind(
        diag.message_primary or str(error),
        sqlstate=error.sqlstate,
        detail=diag.message_detail,
        hint=diag.message_hint,
    )


def from_call(error: psycopg.Error) -> Exception:
    """An error of a call as one of our classes; what is none of ours stays as it is."""
    kind = _OF_CALLS.get(error.sqlstate or "")
    return _made(kind, error) if kind else error


def from_result(error: psycopg.Error, id: str) -> Exception:
    """An error of wf_result: the run's own, unless it says that the run is not there, not yours, not at its end."""
    if error.sqlstate is None or error.sqlstate[:2] in ("08", "57"):
        # Of the connection, or of a wait that was interrupted.
        return error
    # A run may have failed with the same SQLSTATE; hence the message.
    instance = f'workflow instance "{id}"'
    kinds: dict[str, type[WorkflowError]] = {
        f"{instance} does not exist": NotFound,
        f"{instance} has not ended": NotEnded,
        f"permission denied for {instance}": PermissionDenied,
    }
    kind = kinds.get(error.diag.message_primary or "") or _OF_RUNS.get(error.sqlstate, WorkflowFailed)
    return _made(kind, error)


def is_transient(error: psycopg.Error) -> bool:
    """May the same work in a moment, perhaps on another connection?"""
    if error.sqlstate is None:
        # Of the connection itself; what psycopg says of arguments are errors of other classes.
        return isinstance(error, psycopg.OperationalError)
    # The server goes, comes, is full or read-only; deadlocks and the like; a statement was interrupted.
    return error.sqlstate[:2] in ("08", "40", "53", "57", "58") or error.sqlstate in ("25006", "55P03")
