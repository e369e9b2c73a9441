"""A claimed task, as its handler sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from . import _calls
from .errors import TaskCancelled, from_call


def to_json(value: Any) -> str:
    # NaN and Infinity are no JSON: refused here, with a message of Python's.
    return json.dumps(value, allow_nan=False)


def timestamp(text: str) -> datetime:
    # Postgres writes as many digits of a second as there are; Python 3.10 reads six.
    return datetime.fromisoformat(re.sub(r"\.(\d+)", lambda found: "." + found[1].ljust(6, "0"), text))


@dataclass(eq=False)
class Task:
    """What a handler gets as its first argument."""

    id: str
    """Of the workflow instance."""
    workflow: str
    queue: str
    name: str
    attempt: int
    """From 1."""
    input: Any
    idempotency_key: str
    """The same in all attempts: hand it to whatever you call."""
    deadline: datetime | None
    """When this attempt is given up."""
    heartbeat_details: Any
    """What the attempt before has said last: go on from there."""
    token: str = field(repr=False)
    """Proves to the server that the task is yours."""
    trace: str | None = None
    """W3C traceparent of the call, if the instance was started in a trace."""

    _stopped: str | None = field(default=None, init=False, repr=False)
    _details: str | None = field(default=None, init=False, repr=False)
    _completed: bool = field(default=False, init=False, repr=False)
    _wake: Callable[[], object] = field(default=lambda: None, init=False, repr=False)

    @classmethod
    def claimed(cls, row: dict[str, Any]) -> Task:
        """Of a row of wf_poll, as JSON."""
        deadline = row.get("deadline")
        return cls(
            id=row["id"],
            workflow=row["workflow"],
            queue=row["queue_name"],
            name=row["name"],
            attempt=row["attempt"],
            input=row.get("input"),
            idempotency_key=row["idempotency_key"],
            deadline=timestamp(deadline) if deadline else None,
            heartbeat_details=row.get("heartbeat"),
            token=row["task"],
            trace=row.get("trace"),
        )

    @property
    def cancelled(self) -> bool:
        """Is the task to be given up? Nobody wants the result any more, or the worker stops."""
        return self._stopped is not None

    def heartbeat(self, details: Any = None) -> None:
        """Keeps details, any JSON, for the next attempt, should there be one; raises TaskCancelled if the task is to be
        given up. Does not wait: the worker sends the last details, at most once a second. Signs of life need no call;
        the worker sends them by itself."""
        if self._stopped is not None:
            raise TaskCancelled(f'task "{self.name}" is to be given up: {self._stopped}')
        if details is not None:
            self._details = to_json(details)
            self._wake()

    def complete(self, connection: psycopg.Connection[Any], result: Any = None) -> bool:
        """Completes the task in the transaction that is open on a connection of yours: what else is written in it
        happens exactly once. Then return; the worker reports nothing. False if this attempt had completed it before.
        Raises TaskLost if the task is not yours any more: roll back."""
        call = _calls.complete(self.token, to_json(result))
        try:
            with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
                new = call.read(cursor.execute(call.query, call.arguments).fetchall())
        except psycopg.Error as error:
            raise from_call(error) from error
        self._completed = True
        return bool(new)

    async def acomplete(self, connection: psycopg.AsyncConnection[Any], result: Any = None) -> bool:
        """``complete`` for asyncio."""
        call = _calls.complete(self.token, to_json(result))
        try:
            async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
                await cursor.execute(call.query, call.arguments)
                new = call.read(await cursor.fetchall())
        except psycopg.Error as error:
            raise from_call(error) from error
        self._completed = True
        return bool(new)

    def _take_details(self) -> str | None:
        details, self._details = self._details, None
        return details
