"""What clients do: start, signal, cancel, look and wait. ``_aclient`` is the same for asyncio."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from . import _calls
from ._calls import Call, OnConflict, Status, StreamItem, WorkflowInfo
from ._connections import connect_arguments, has_news, slices
from .errors import Duration, NotEnded, from_call, from_result


class Client:
    """Talks to pg_workflow. May be shared by threads.

    conninfo: where to connect to, as libpq reads it; what is not given is taken from PGHOST, PGUSER and so on. A
    connection is opened when it is needed, and kept for the next call; each call is a transaction.

    Each method takes a ``connection`` of yours. Then it becomes part of the transaction that is open there, or that it
    opens if the connection is not in autocommit, and takes effect when you commit.
    """

    def __init__(self, conninfo: str = "") -> None:
        # Nothing is prepared: behind a pool that would be on some other connection by the next call.
        self._arguments = {**connect_arguments(conninfo, "pg_workflow client"), "prepare_threshold": None}
        self._idle: list[psycopg.Connection[Any]] = []

    def close(self) -> None:
        """Closes the client's own connections."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self,
        workflow: str,
        input: Any = None,
        *,
        id: str | None = None,
        start_at: datetime | None = None,
        delay: Duration | None = None,
        priority: int | None = None,
        timeout: Duration | None = None,
        start_timeout: Duration | None = None,
        on_conflict: OnConflict = "use_existing",
        queue: str | None = None,
        key: str | None = None,
        dedup: str | None = None,
        connection: psycopg.Connection[Any] | None = None,
    ) -> str:
        """Starts a workflow and returns its id. Starting the same id again is starting once. queue: starts when the
        limits of that queue let it; key: its share of them; dedup: returns the id of the open one of the same key."""
        times = (start_at, delay, priority, timeout, start_timeout)
        call = _calls.start(workflow, input, id, *times, on_conflict, queue, key, dedup)
        return str(self._call(call, connection))

    def signal(
        self,
        id: str,
        name: str,
        payload: Any = None,
        *,
        key: str | None = None,
        connection: psycopg.Connection[Any] | None = None,
    ) -> bool:
        """Sends a signal; False if its key had been sent before."""
        return bool(self._call(_calls.signal(id, name, payload, key), connection))

    def cancel(self, id: str, reason: str | None = None, *, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Cancels the open run of an id; False if it has ended already."""
        return bool(self._call(_calls.cancel(id, reason), connection))

    def status(self, id: str, *, connection: psycopg.Connection[Any] | None = None) -> Status:
        status: Status = self._call(_calls.status(id), connection)
        return status

    def result(self, id: str, wait: timedelta | float = 0, *, connection: psycopg.Connection[Any] | None = None) -> Any:
        """The result of the open or last run, waiting for its end. Raises NotEnded if it has not ended in time,
        WorkflowFailed or a class below it if it has failed or was cancelled."""
        if connection is not None:
            return self._result(id, _calls.span(wait), connection)
        for part in slices(_calls.span(wait), time.monotonic):
            try:
                return self._result(id, part.wait, None)
            except NotEnded:
                if part.is_last:
                    raise
        raise AssertionError("one is the last")

    def get(self, id: str, name: str | None = None, *, connection: psycopg.Connection[Any] | None = None) -> Any:
        """What the workflow has published under a name, None if it has not; without a name the whole instance."""
        return self._call(_calls.get(id, name), connection)

    def wait_value(
        self,
        id: str,
        name: str,
        wait: Duration = 10,
        *,
        known: Any = None,
        connection: psycopg.Connection[Any] | None = None,
    ) -> Any:
        """The value that is published under a name, as soon as there is one that differs from known. None when the time
        has passed, or when the run has ended without one."""
        return self._call(_calls.wait_value(id, name, wait, known), connection)

    def read_stream(
        self,
        id: str,
        name: str,
        *,
        after: int = 0,
        wait: Duration = 0,
        connection: psycopg.Connection[Any] | None = None,
    ) -> builtins.list[StreamItem]:
        """What the run has appended to a stream behind position after; waits for the first if there is none."""
        items: builtins.list[StreamItem] = self._call(_calls.read_stream(id, name, after, wait), connection)
        return items

    def pause(self, id: str, reason: str | None = None, *, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Pauses an instance; False if it was paused already, or has ended."""
        return bool(self._call(_calls.pause(id, reason), connection))

    def resume(self, id: str, reason: str | None = None, *, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Lets a paused instance go on; False if it was not paused."""
        return bool(self._call(_calls.resume(id, reason), connection))

    def retry(self, id: str, reason: str | None = None, *, connection: psycopg.Connection[Any] | None = None) -> None:
        """Lets an instance go on that has failed or was cancelled, with the call at which it did."""
        self._call(_calls.retry(id, reason), connection)

    def list(
        self,
        workflow: str | None = None,
        *,
        status: Status | Sequence[Status] | None = None,
        id_prefix: str | None = None,
        limit: int = 100,
        before: UUID | None = None,
        connection: psycopg.Connection[Any] | None = None,
    ) -> builtins.list[WorkflowInfo]:
        """Runs, the newest first. before: the run_id of the last one of the page before."""
        call = _calls.list_workflows(workflow, status, id_prefix, limit, before)
        runs: builtins.list[WorkflowInfo] = self._call(call, connection)
        return runs

    def _result(self, id: str, wait: timedelta, connection: psycopg.Connection[Any] | None) -> Any:
        return self._call(_calls.result(id, wait), connection, lambda error: from_result(error, id))

    def _call(
        self,
        call: Call,
        connection: psycopg.Connection[Any] | None,
        translate: Callable[[psycopg.Error], Exception] = from_call,
    ) -> Any:
        try:
            if connection is not None:
                return self._execute(connection, call)
            with self._own() as own:
                return self._execute(own, call)
        except psycopg.Error as error:
            translated = translate(error)
            if translated is error:
                raise
            raise translated from error

    def _execute(self, connection: psycopg.Connection[Any], call: Call) -> Any:
        # Whatever kind of cursors and rows the connection's owner prefers.
        with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
            return call.read(cursor.execute(call.query, call.arguments).fetchall())

    @contextmanager
    def _own(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection for one call; each is in one thread's hands at a time."""
        connection: psycopg.Connection[Any] | None = None
        while self._idle and connection is None:
            connection = self._idle.pop()
            if has_news(connection):
                connection.close()
                connection = None
        connection = connection or psycopg.connect(autocommit=True, **self._arguments)
        try:
            yield connection
        finally:
            if connection.info.transaction_status == TransactionStatus.IDLE:
                self._idle.append(connection)
            else:
                connection.close()
