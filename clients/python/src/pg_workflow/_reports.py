"""What a worker tells the server of its tasks: signs of life, results, failures. One after the other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from . import _calls
from ._calls import Call
from ._connections import AsyncConnection, Link, log
from .errors import TaskFailed

LOST = "WF007"
TOO_LONG = 10_000


@dataclass
class _Completion:
    token: str
    result: str
    outcome: str | None = None
    error: psycopg.Error | None = None


async def execute(connection: AsyncConnection, call: Call) -> Any:
    async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
        await cursor.execute(call.query, call.arguments)
        return call.read(await cursor.fetchall())


class Reports:
    """Whatever is said is said again after the connection was lost: the server takes it once."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = asyncio.Lock()
        self._pending: list[_Completion] = []

    async def _say(self, call: Call) -> Any:
        return await self._link.run(lambda connection: execute(connection, call))

    async def heartbeat(self, token: str, details: str | None) -> bool:
        async with self._lock:
            return bool(await self._say(_calls.heartbeat(token, details)))

    async def fail(self, token: str, failure: TaskFailed, counts: bool = True) -> None:
        call = _calls.fail(
            token,
            _text(failure.message),
            retryable=failure.retryable,
            delay=failure.delay,
            sqlstate=failure.sqlstate,
            detail=None if failure.detail is None else _text(failure.detail),
            counts=counts,
        )
        async with self._lock:
            try:
                await self._say(call)
            except psycopg.Error as error:
                if error.sqlstate == LOST:
                    raise
                # The failure counts, if not in these words.
                log.error("failure %r cannot be reported as it is: %s", failure.message, error)
                reason = f"The worker could not report it as it was: {str(error).strip()}"
                message = _text(failure.message)
                await self._say(_calls.fail(token, message, retryable=failure.retryable, detail=_text(reason)))

    async def complete(self, token: str, result: str) -> str:
        """Returns what has become of it: completed, repeated, lost. What comes while others are told goes together."""
        mine = _Completion(token, result)
        self._pending.append(mine)
        async with self._lock:
            if mine.outcome is None and mine.error is None:
                batch, self._pending = self._pending, []
                try:
                    await self._complete(batch)
                except BaseException:
                    self._pending[:0] = batch
                    raise
        if mine.error is not None:
            raise mine.error
        assert mine.outcome is not None
        return mine.outcome

    async def _complete(self, batch: list[_Completion]) -> None:
        try:
            outcomes = await self._say(_calls.complete_all({each.token: each.result for each in batch}))
        except psycopg.Error as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            # One of them is refused, and all with it.
            for each in batch:
                await self._complete([each])
        else:
            for each in batch:
                each.outcome = outcomes[each.token]


def _text(text: str) -> str:
    """Text that Postgres takes, and that a person can read."""
    text = text.replace("\0", "\ufffd").encode(errors="replace").decode()
    return text if len(text) <= TOO_LONG else text[:TOO_LONG] + " ..."
