"""The statements of the clients: what is sent, and what is made of the answer. Sync and asyncio share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

from psycopg.types.json import Jsonb

from .errors import Duration

Status: TypeAlias = Literal["pending", "running", "waiting", "paused", "completed", "failed", "cancelled"]
OnConflict: TypeAlias = Literal["use_existing", "fail", "start_new"]


@dataclass(frozen=True)
class WorkflowInfo:
    """A run, as the view ``wf.workflows`` has it."""

    id: str
    workflow: str
    status: Status
    waiting_for: str | None
    input: Any
    result: Any
    error: str | None
    """What it has failed with."""
    sqlstate: str | None
    values: dict[str, Any] | None
    """What it has published by ``wf_set``."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline: datetime | None
    owner: str
    priority: int
    version: int
    run: int
    """From 1: the how-manieth run of this id."""
    run_id: UUID
    parent: str | None


@dataclass(frozen=True)
class StreamItem:
    """What an instance has appended to a stream."""

    seq: int
    value: Any
    at: datetime


@dataclass(frozen=True)
class Call:
    """A statement. ``read`` makes the answer of its rows."""

    query: bytes
    arguments: dict[str, Any]
    read: Callable[[list[tuple[Any, ...]]], Any] = lambda rows: rows[0][0]


def interval(duration: Duration | None) -> timedelta | str | None:
    return timedelta(seconds=duration) if isinstance(duration, (int, float)) else duration


def span(wait: timedelta | float) -> timedelta:
    return wait if isinstance(wait, timedelta) else timedelta(seconds=wait)


def _function(name: str, arguments: dict[str, Any], select: str = "SELECT {}") -> Call:
    """A call with named arguments; what is None is left to its default."""
    given = {key: value for key, value in arguments.items() if value is not None}
    call = f"{name}({', '.join(f'{key} => %({key})s' for key in given)})"
    return Call(select.format(call).encode(), given)


def start(
    workflow: str,
    input: Any,
    id: str | None,
    start_at: datetime | None,
    delay: Duration | None,
    priority: int | None,
    timeout: Duration | None,
    start_timeout: Duration | None,
    on_conflict: OnConflict,
    queue: str | None,
    key: str | None,
    dedup: str | None,
) -> Call:
    return _function(
        "wf_start",
        {
            "workflow": workflow,
            "input": None if input is None else Jsonb(input),
            "id": id,
            "start_at": start_at,
            "delay": interval(delay),
            "priority": priority,
            "timeout": interval(timeout),
            "on_conflict": on_conflict,
            "start_timeout": interval(start_timeout),
            "queue": queue,
            "key": key,
            "dedup": dedup,
        },
    )


def signal(id: str, name: str, payload: Any, key: str | None) -> Call:
    return _function("wf_signal", {"id": id, "name": name, "payload": Jsonb(payload), "key": key})


def cancel(id: str, reason: str | None) -> Call:
    return _function("wf_cancel", {"id": id, "reason": reason})


def status(id: str) -> Call:
    return _function("wf_status", {"id": id})


def result(id: str, wait: timedelta) -> Call:
    return _function("wf_result", {"id": id, "wait": wait})


def get(id: str, name: str | None) -> Call:
    return _function("wf_get", {"id": id, "name": name})


def pause(id: str, reason: str | None) -> Call:
    return _function("wf_pause", {"id": id, "reason": reason})


def resume(id: str, reason: str | None) -> Call:
    return _function("wf_resume", {"id": id, "reason": reason})


def retry(id: str, reason: str | None) -> Call:
    call = _function("wf_retry", {"id": id, "reason": reason})
    return Call(call.query, call.arguments, lambda rows: None)


def wait_value(id: str, name: str, wait: Duration, known: Any) -> Call:
    known = None if known is None else Jsonb(known)
    return _function("wf_wait_value", {"id": id, "name": name, "wait": interval(wait), "known": known})


def read_stream(id: str, name: str, after: int, wait: Duration) -> Call:
    arguments = {"id": id, "name": name, "after": after, "wait": interval(wait)}
    call = _function("wf_read_stream", arguments, "SELECT seq, value, at FROM {}")
    return Call(call.query, call.arguments, lambda rows: [StreamItem(*row) for row in rows])


# Newest first: run ids are ordered by time.
_LIST = b"""
    SELECT id, workflow, status, waiting_for, input, result, error, sqlstate, "values", created_at, started_at,
           finished_at, deadline, owner::text, priority, version, run, run_id, parent
    FROM wf.workflows
    WHERE (%(workflow)s::text IS NULL OR workflow = %(workflow)s)
      AND (%(status)s::text[] IS NULL OR status = ANY (%(status)s))
      AND (%(id_prefix)s::text IS NULL OR starts_with(id, %(id_prefix)s))
      AND (%(before)s::uuid IS NULL OR run_id < %(before)s)
    ORDER BY run_id DESC LIMIT %(limit)s
"""


def list_workflows(
    workflow: str | None,
    status: Status | Sequence[Status] | None,
    id_prefix: str | None,
    limit: int,
    before: UUID | None,
) -> Call:
    statuses = [status] if isinstance(status, str) else None if status is None else list(status)
    arguments = {"workflow": workflow, "status": statuses, "id_prefix": id_prefix, "limit": limit, "before": before}
    return Call(_LIST, arguments, lambda rows: [WorkflowInfo(*row) for row in rows])


# --- of workers ------------------------------------------------------------------------------------------------------

_POLL = b"""
    CALL wf_poll(queues => %(queues)s, wait => %(wait)s, result => NULL, worker => %(worker)s, max => %(max)s,
                 lease => %(lease)s)
"""
_POLL_ONCE = b"""
    SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]')
    FROM wf_poll(queues => %(queues)s, worker => %(worker)s, max => %(max)s, lease => %(lease)s) AS t
"""


def poll(queues: Sequence[str], worker: str, max: int, lease: timedelta, wait: timedelta | None) -> Call:
    """Claims tasks; with a wait it needs a connection of its own and no transaction."""
    arguments = {"queues": list(queues), "worker": worker, "max": max, "lease": lease}
    return Call(_POLL_ONCE, arguments) if wait is None else Call(_POLL, {**arguments, "wait": wait})


def complete(task: str, result: str) -> Call:
    """result: as JSON text."""
    return Call(b"SELECT wf_complete(task => %(task)s, result => %(result)s)", {"task": task, "result": result})


# Objects are built here, and not by the client: what it has is JSON text.
_COMPLETE_ALL = b"""
    SELECT c.task, c.outcome
    FROM wf_complete(tasks => (SELECT jsonb_agg(jsonb_build_object('task', t.task, 'result', t.result))
                               FROM unnest(%(tasks)s::text[], %(results)s::jsonb[]) AS t(task, result))) AS c
"""


def complete_all(results: dict[str, str]) -> Call:
    arguments = {"tasks": list(results.keys()), "results": list(results.values())}
    return Call(_COMPLETE_ALL, arguments, dict)


def fail(
    task: str,
    message: str,
    *,
    retryable: bool = True,
    delay: Duration | None = None,
    sqlstate: str | None = None,
    detail: str | None = None,
    counts: bool = True,
) -> Call:
    """counts: as an attempt; else the task is handed back."""
    return _function(
        "wf_fail",
        {
            "task": task,
            "message": message,
            "retryable": retryable,
            "delay": interval(delay),
            "sqlstate": sqlstate,
            "detail": detail,
            "counts": counts,
        },
    )


def heartbeat(task: str, details: str | None) -> Call:
    """details: as JSON text."""
    return _function("wf_heartbeat", {"task": task, "details": details})
