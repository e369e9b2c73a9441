"""A worker at work, on one event loop: claims, handlers, signs of life, reports, the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import Any

import psycopg

from . import _calls
from ._connections import AsyncConnection, Link, log
from ._handlers import Handler, Outcome, Raised, Returned
from ._reports import LOST, Reports, execute
from ._task import Task, timestamp, to_json
from .errors import TaskFailed

# A CALL that waits is made anew after this time.
POLL_WAIT = timedelta(seconds=30)
# Of the lease, between two signs of life: two may be lost.
BEAT = 1 / 3
# Details of heartbeats are sent at most so often.
DETAILS_PAUSE = 1.0
# After the grace time: for handlers to end that have been told to, and for the last reports.
END_PAUSE = 1.0
REPORT_TIME = 10.0


@dataclass(frozen=True)
class Options:
    conninfo: str
    queues: Sequence[str]
    concurrency: int
    name: str
    lease: timedelta
    poll_interval: float | None
    """Between two looks into an empty queue; None: wait in the server."""
    grace: float


class Stop(Enum):
    """Why a handler is told to stop."""

    UNWANTED = "its call was cancelled, or its instance has ended"
    LOST = "it is not this worker's any more"
    DEADLINE = "its deadline has passed"
    SHUTDOWN = "the worker stops"


class Attempt:
    """A claimed task, from its claim to its report."""

    def __init__(self, task: Task, interval: float, deadline: float | None) -> None:
        loop = asyncio.get_running_loop()
        self.task = task
        self.interval = interval
        """Between signs of life, in seconds."""
        self.deadline = deadline
        """In the loop's time."""
        self.stopped: Stop | None = None
        self.finished = asyncio.Event()
        self.wake = asyncio.Event()
        self.abandoned: asyncio.Future[None] = loop.create_future()
        self.work: asyncio.Future[Outcome] | None = None
        task._wake = partial(loop.call_soon_threadsafe, self.wake.set)

    def __str__(self) -> str:
        return f'task "{self.task.name}" of {self.task.id}, attempt {self.task.attempt}'

    def stop(self, why: Stop) -> None:
        if self.stopped is None:
            self.stopped = why
            self.task._stopped = why.value
            # A thread cannot be interrupted: it asks, or gets to know with its next heartbeat.
            if isinstance(self.work, asyncio.Task):
                self.work.cancel()

    def abandon(self) -> None:
        if not self.abandoned.done():
            self.abandoned.set_result(None)

    async def perform(self, handler: Handler) -> Outcome | None:
        """None if it was abandoned before its end."""
        self.work = handler.begin(self.task)
        either: set[asyncio.Future[Any]] = {self.work, self.abandoned}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self.work.done():
            return None
        # Told to stop before it began.
        return Raised(asyncio.CancelledError()) if self.work.cancelled() else self.work.result()


class Engine:
    def __init__(self, options: Options, handlers: Mapping[str, Handler]) -> None:
        self._options = options
        self._handlers = handlers
        pooled = options.poll_interval is not None
        application = f"pg_workflow worker {options.name}"
        self._polls = Link("poll", options.conninfo, application, pooled=pooled, set_up=self._meet)
        self._report_link = Link("report", options.conninfo, application, pooled=pooled)
        self._reports = Reports(self._report_link)
        self._attempts: dict[Attempt, asyncio.Task[None]] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._grace = options.grace
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._asking: AsyncConnection | None = None
        """While a poll is on its way, its connection."""
        self._server_clock = 0.0
        """The server's time, less the loop's."""

    def stop(self, grace: float | None = None) -> None:
        """Ends the work; called once more, without waiting for handlers."""
        if self._stopping.is_set():
            self._hurry.set()
        elif grace is not None:
            self._grace = grace
        self._stopping.set()

    async def run(self) -> None:
        log.info("worker %s: queues %s, %s tasks", self._options.name, self._options.queues, sorted(self._handlers))
        poller = asyncio.create_task(self._poll_forever())
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({poller, stopped}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._hurry.set()
            raise
        finally:
            stopped.cancel()
            self._stopping.set()
            await self._end_poll(poller)
            await self._end_work()
            await self._polls.close()
            await self._report_link.close()
        if not poller.cancelled() and (error := poller.exception()):
            raise error
        log.info("worker %s has stopped", self._options.name)

    # --- claims -------------------------------------------------------------------------------------------------------

    async def _meet(self, connection: AsyncConnection) -> None:
        query = "SELECT extract(epoch FROM clock_timestamp())::float8"
        if self._options.poll_interval is None:
            # It is meant to wait, whatever the role's limit for statements.
            query += ", set_config('statement_timeout', '0', false)"
        row = await (await connection.execute(query.encode())).fetchone()
        assert row is not None
        self._server_clock = row[0] - asyncio.get_running_loop().time()

    async def _poll_forever(self) -> None:
        while not self._stopping.is_set():
            await self._room.wait()
            rows = await self._polls.run(self._poll)
            # Without a pause in between: what is claimed is not forgotten.
            for row in rows:
                self._begin(row)
            if not rows and self._options.poll_interval is not None:
                await _happens(self._stopping, self._options.poll_interval)

    async def _poll(self, connection: AsyncConnection) -> list[dict[str, Any]]:
        options = self._options
        room = options.concurrency - len(self._attempts)
        wait = POLL_WAIT if options.poll_interval is None else None
        call = _calls.poll(options.queues, options.name, room, options.lease, wait)
        self._asking = connection
        try:
            rows: list[dict[str, Any]] = await execute(connection, call)
            return rows
        except psycopg.errors.QueryCanceled:
            if self._stopping.is_set():
                return []
            raise
        finally:
            self._asking = None

    async def _end_poll(self, poller: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + REPORT_TIME
        while not poller.done():
            if self._asking is None or loop.time() > give_up:
                poller.cancel()
            else:
                # By way of the server, which either has claimed nothing then, or says what. The request may come before
                # the poll and be in vain.
                with contextlib.suppress(psycopg.Error):
                    await self._asking.cancel_safe(timeout=5)
            await asyncio.wait({poller}, timeout=0.5)

    # --- work ---------------------------------------------------------------------------------------------------------

    def _begin(self, row: dict[str, Any]) -> None:
        now = asyncio.get_running_loop().time()
        task = Task.claimed(row)
        lease = timestamp(row["lease_until"]).timestamp() - self._server_clock - now
        # A clock that was set meanwhile must neither lose the lease nor make a storm.
        lease = min(max(lease, 0.3), self._options.lease.total_seconds())
        deadline = None if task.deadline is None else task.deadline.timestamp() - self._server_clock
        attempt = Attempt(task, lease * BEAT, deadline)
        self._attempts[attempt] = asyncio.create_task(self._work(attempt))
        if len(self._attempts) >= self._options.concurrency:
            self._room.clear()

    async def _work(self, attempt: Attempt) -> None:
        try:
            handler = self._handlers.get(attempt.task.name)
            if self._stopping.is_set():
                await self._hand_back(attempt)
            elif handler is None:
                await self._refuse(attempt)
            else:
                beats = asyncio.create_task(self._beat(attempt))
                try:
                    outcome = await attempt.perform(handler)
                finally:
                    attempt.finished.set()
                    attempt.wake.set()
                    await beats
                await self._report(attempt, handler, outcome)
        except psycopg.Error as error:
            if error.sqlstate == LOST:
                log.warning("%s was lost: %s", attempt, error.diag.message_detail)
            else:
                log.error("%s cannot be reported: %s", attempt, error)
        except Exception:
            log.exception("%s: its lease will expire", attempt)
        finally:
            del self._attempts[attempt]
            self._room.set()

    async def _beat(self, attempt: Attempt) -> None:
        """Signs of life, until the attempt is finished or to be given up."""
        loop = asyncio.get_running_loop()
        next_beat = loop.time() + attempt.interval
        while True:
            due = next_beat if attempt.deadline is None else min(next_beat, attempt.deadline)
            if await _happens(attempt.wake, due - loop.time()):
                attempt.wake.clear()
            if attempt.finished.is_set():
                return
            if attempt.deadline is not None and loop.time() >= attempt.deadline:
                attempt.stop(Stop.DEADLINE)
                return
            try:
                if not await self._reports.heartbeat(attempt.task.token, attempt.task._take_details()):
                    attempt.stop(Stop.UNWANTED)
                    return
            except psycopg.Error as error:
                if error.sqlstate == LOST:
                    attempt.stop(Stop.LOST)
                    return
                log.error("%s: heartbeat was refused: %s", attempt, error)
            next_beat = loop.time() + attempt.interval
            if await _happens(attempt.finished, min(DETAILS_PAUSE, attempt.interval)):
                return

    # --- reports ------------------------------------------------------------------------------------------------------

    async def _report(self, attempt: Attempt, handler: Handler, outcome: Outcome | None) -> None:
        task = attempt.task
        if attempt.stopped not in (None, Stop.SHUTDOWN):
            level = logging.INFO if attempt.stopped is Stop.UNWANTED else logging.WARNING
            log.log(level, "%s was given up: %s", attempt, task._stopped)
        elif isinstance(outcome, Returned):
            if not task._completed:
                await self._complete(attempt, outcome.value)
        elif outcome is None or (attempt.stopped and not isinstance(outcome.error, TaskFailed)):
            await self._hand_back(attempt)
        else:
            failure = handler.failure(outcome.error)
            expected = isinstance(outcome.error, TaskFailed)
            log.warning("%s failed: %s", attempt, failure.message, exc_info=None if expected else outcome.error)
            await self._fail(attempt, failure)

    async def _complete(self, attempt: Attempt, value: Any) -> None:
        name = attempt.task.name
        try:
            result = to_json(value)
        except (TypeError, ValueError, RecursionError) as error:
            failure = TaskFailed(f'result of task "{name}" is not JSON: {error}', retryable=False)
        else:
            try:
                if await self._reports.complete(attempt.task.token, result) == "lost":
                    log.warning("%s was lost: its result is dropped", attempt)
                return
            except psycopg.Error as error:
                message = error.diag.message_primary or str(error)
                detail = error.diag.message_detail
                failure = TaskFailed(f'result of task "{name}" was refused: {message}', retryable=False, detail=detail)
        log.error("%s: %s", attempt, failure.message)
        await self._fail(attempt, failure)

    async def _fail(self, attempt: Attempt, failure: TaskFailed, counts: bool = True) -> None:
        task = attempt.task
        # What the next attempt is to go on from.
        details = task._take_details()
        if details is None or await self._reports.heartbeat(task.token, details):
            await self._reports.fail(task.token, failure, counts)

    async def _hand_back(self, attempt: Attempt) -> None:
        log.warning("%s is handed back", attempt)
        await self._fail(attempt, TaskFailed(f'worker "{self._options.name}" was stopped'), counts=False)

    async def _refuse(self, attempt: Attempt) -> None:
        message = f'worker "{self._options.name}" has no task "{attempt.task.name}"'
        known = ", ".join(sorted(self._handlers))
        log.error("%s: %s", attempt, message)
        await self._fail(attempt, TaskFailed(message, detail=f"It has {known or 'none'}."))

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _end_work(self) -> None:
        if self._attempts:
            log.info("waiting up to %s s for %s tasks", self._grace, len(self._attempts))
            await self._all_done(self._grace, self._hurry)
        for attempt in self._attempts:
            attempt.stop(Stop.SHUTDOWN)
        await self._all_done(END_PAUSE)
        for attempt in self._attempts:
            attempt.abandon()
        await self._all_done(REPORT_TIME)
        for attempt, work in list(self._attempts.items()):
            log.error("%s could not be reported in time; its lease will expire", attempt)
            work.cancel()
        await self._all_done(END_PAUSE)

    async def _all_done(self, timeout: float, hurry: asyncio.Event | None = None) -> None:
        works = asyncio.gather(*self._attempts.values(), return_exceptions=True)
        hurried = asyncio.create_task((hurry or asyncio.Event()).wait())
        either: set[asyncio.Future[Any]] = {works, hurried}
        await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()


async def _happens(event: asyncio.Event, timeout: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), max(0.0, timeout))
    except asyncio.TimeoutError:
        return False
    return True
