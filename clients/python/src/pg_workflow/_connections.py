"""Connections: how they are made, noticed to be lost, and made anew."""

from __future__ import annotations

import asyncio
import logging
import random
import select
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from .errors import is_transient

log = logging.getLogger("pg_workflow")

T = TypeVar("T")
AsyncConnection: TypeAlias = "psycopg.AsyncConnection[Any]"

# A server that has vanished without a word is noticed within a minute. What the caller's conninfo says goes first.
_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def connect_arguments(conninfo: str, application: str) -> dict[str, Any]:
    return {**_DEFAULTS, "application_name": application, **conninfo_to_dict(conninfo)}


def has_news(connection: psycopg.BaseConnection[Any]) -> bool:
    """Has the server said anything on an idle connection? Then mostly that it ends it."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@dataclass(frozen=True)
class Slice:
    wait: timedelta
    is_last: bool


# A wait keeps a transaction, and so a snapshot, open: a long one is made of short ones.
_SLICE = timedelta(seconds=10)


def slices(wait: timedelta, now: Callable[[], float]) -> Iterator[Slice]:
    until = now() + wait.total_seconds()
    while (rest := timedelta(seconds=max(0.0, until - now()))) > _SLICE:
        yield Slice(_SLICE, is_last=False)
    yield Slice(rest, is_last=True)


class Link:
    """A connection of a worker, in autocommit, that is made anew when it is lost."""

    FIRST_PAUSE = 0.1
    LAST_PAUSE = 10.0

    def __init__(
        self,
        name: str,
        conninfo: str,
        application: str,
        *,
        pooled: bool,
        set_up: Callable[[AsyncConnection], Awaitable[None]] | None = None,
    ) -> None:
        self._name = name
        self._arguments = {**connect_arguments(conninfo, application), "autocommit": True}
        if pooled:
            # Behind a pool a statement may be prepared on one server connection and called on another.
            self._arguments["prepare_threshold"] = None
        self._set_up = set_up
        self.connection: AsyncConnection | None = None

    async def run(self, action: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Does something on the connection; again, with longer and longer pauses, while that fails for want of one."""
        pause = self.FIRST_PAUSE
        while True:
            try:
                if self.connection is None:
                    self.connection = await self._connect()
                done = await action(self.connection)
            except psycopg.Error as error:
                if not is_transient(error):
                    raise
                # A new one may lead to another server, which is the better one now.
                await self.close()
                wait = pause * random.uniform(0.5, 1)
                log.warning("%s connection: %s; again in %.1f s", self._name, str(error).strip(), wait)
                await asyncio.sleep(wait)
                pause = min(pause * 2, self.LAST_PAUSE)
            else:
                if pause > self.FIRST_PAUSE:
                    log.info("%s connection: works again", self._name)
                return done

    async def _connect(self) -> AsyncConnection:
        connection = await psycopg.AsyncConnection.connect(**self._arguments)
        try:
            if self._set_up:
                await self._set_up(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection:
            await connection.close()
