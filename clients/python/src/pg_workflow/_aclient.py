"""``_client`` for asyncio: the same methods, to be awaited."""

from __future__ import annotations

import builtins
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
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


class AsyncClient:
    """Talks to pg_workflow. May be shared by the tasks of an event loop.

    conninfo: where to connect to, as libpq reads it; what is not given is taken from PGHOST, PGUSER and so on. A
    connection is opened when it is needed, and kept for the next call; each call is a transaction.

    Each method takes a ``connection`` of yours. Then it becomes part of the transaction that is open there, or that it
    opens if the connection is not in autocommit, and takes effect when you commit.
    """

    def __init__(self, conninfo: str = "") -> None:
        # Nothing is prepared: behind a pool that would be on some other connection by the next call.
        self._arguments = {**connect_arguments(conninfo, "pg_workflow client"), "prepare_threshold": None}
        self._idle: list[psycopg.AsyncConnection[Any]] = []

    async def close(self) -> None:
        """Closes the client's own connections."""
        while self._idle:
            await self._idle.pop().close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(
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
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> str:
        """Starts a workflow and returns its id. Starting the same id again is starting once. queue: starts when the
        limits of that queue let it; key: its share of them; dedup: returns the id of the open one of the same key."""
        times = (start_at, delay, priority, timeout, start_timeout)
        call = _calls.start(workflow, input, id, *times, on_conflict, queue, key, dedup)
        return str(await self._call(call, connection))

    async def signal(
        self,
        id: str,
        name: str,
        payload: Any = None,
        *,
        key: str | None = None,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> bool:
        """Sends a signal; False if its key had been sent before."""
        return bool(await self._call(_calls.signal(id, name, payload, key), connection))

    async def cancel(
        self, id: str, reason: str | None = None, *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> bool:
        """Cancels the open run of an id; False if it has ended already."""
        return bool(await self._call(_calls.cancel(id, reason), connection))

    async def status(self, id: str, *, connection: psycopg.AsyncConnection[Any] | None = None) -> Status:
        status: Status = await self._call(_calls.status(id), connection)
        return status

    async def result(
        self, id: str, wait: timedelta | float = 0, *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> Any:
        """The result of the open or last run, waiting for its end. Raises NotEnded if it has not ended in time,
        WorkflowFailed or a class below it if it has failed or was cancelled."""
        if connection is not None:
            return await self._result(id, _calls.span(wait), connection)
        for part in slices(_calls.span(wait), time.monotonic):
            try:
                return await self._result(id, part.wait, None)
            except NotEnded:
                if part.is_last:
                    raise
        raise AssertionError("one is the last")

    async def get(
        self, id: str, name: str | None = None, *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> Any:
        """What the workflow has published under a name, None if it has not; without a name the whole instance."""
        return await self._call(_calls.get(id, name), connection)

    async def wait_value(
        self,
        id: str,
        name: str,
        wait: Duration = 10,
        *,
        known: Any = None,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> Any:
        """The value that is published under a name, as soon as there is one that differs from known. None when the time
        has passed, or when the run has ended without one."""
        return await self._call(_calls.wait_value(id, name, wait, known), connection)

    async def read_stream(
        self,
        id: str,
        name: str,
        *,
        after: int = 0,
        wait: Duration = 0,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> builtins.list[StreamItem]:
        """What the run has appended to a stream behind position after; waits for the first if there is none."""
        items: builtins.list[StreamItem] = await self._call(_calls.read_stream(id, name, after, wait), connection)
        return items

    async def pause(
        self, id: str, reason: str | None = None, *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> bool:
        """Pauses an instance; False if it was paused already, or has ended."""
        return bool(await self._call(_calls.pause(id, reason), connection))

    async def resume(
        self, id: str, reason: str | None = None, *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> bool:
        """Lets a paused instance go on; False if it was not paused."""
        return bool(await self._call(_calls.resume(id, reason), connection))

    async def retry(
        self, id: str, reason: str | None = None, *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> None:
        """Lets an instance go on that has failed or was cancelled, with the call at which it did."""
        await self._call(_calls.retry(id, reason), connection)

    async def list(
        self,
        workflow: str | None = None,
        *,
        status: Status | Sequence[Status] | None = None,
        id_prefix: str | None = None,
        limit: int = 100,
        before: UUID | None = None,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> builtins.list[WorkflowInfo]:
        """Runs, the newest first. before: the run_id of the last one of the page before."""
        call = _calls.list_workflows(workflow, status, id_prefix, limit, before)
        runs: builtins.list[WorkflowInfo] = await self._call(call, connection)
        return runs

    async def _result(self, id: str, wait: timedelta, connection: psycopg.AsyncConnection[Any] | None) -> Any:
        return await self._call(_calls.result(id, wait), connection, lambda error: from_result(error, id))

    async def _call(
        self,
        call: Call,
        connection: psycopg.AsyncConnection[Any] | None,
        translate: Callable[[psycopg.Error], Exception] = from_call,
    ) -> Any:
        try:
            if connection is not None:
                return await self._execute(connection, call)
            async with self._own() as own:
                return await self._execute(own, call)
        except psycopg.Error as error:
            translated = translate(error)
            if translated is error:
                raise
            raise translated from error

    async def _execute(self, connection: psycopg.AsyncConnection[Any], call: Call) -> Any:
        # Whatever kind of cursors and rows the connection's owner prefers.
        async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
            await cursor.execute(call.query, call.arguments)
            return call.read(await cursor.fetchall())

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection for one call; each is in one task's hands at a time."""
        connection: psycopg.AsyncConnection[Any] | None = None
        while self._idle and connection is None:
            connection = self._idle.pop()
            if has_news(connection):
                await connection.close()
                connection = None
        connection = connection or await psycopg.AsyncConnection.connect(autocommit=True, **self._arguments)
        try:
            yield connection
        finally:
            if connection.info.transaction_status == TransactionStatus.IDLE:
                self._idle.append(connection)
            else:
                await connection.close()
