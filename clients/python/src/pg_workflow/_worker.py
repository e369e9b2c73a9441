"""The face of a worker: its options, its handlers, its life."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeVar

from ._engine import Engine, Options
from ._handlers import Handler

F = TypeVar("F", bound=Callable[..., Any])


class Worker:
    """Does tasks of queues.

    conninfo: where to connect to, as libpq reads it; what is not given is taken from PGHOST, PGUSER and so on. It uses
    two connections. queue: one or several, the first one first. concurrency: tasks at a time, at most. name: shown in
    wf.tasks; default: host and process. lease: after this time without a sign of life a task goes to another worker;
    signs are sent each third of it. wait: "call" waits in the server for tasks, on a connection of its own; "poll" asks
    again each poll_interval seconds, which also works through a pool in transaction mode. grace: seconds that handlers
    have to end when the worker stops.
    """

    def __init__(
        self,
        conninfo: str = "",
        *,
        queue: str | Sequence[str],
        concurrency: int = 10,
        name: str | None = None,
        lease: timedelta | float = 60,
        wait: Literal["call", "poll"] = "call",
        poll_interval: float = 1.0,
        grace: float = 30.0,
    ) -> None:
        self.conninfo = conninfo
        self.queues = [queue] if isinstance(queue, str) else list(queue)
        self.concurrency = concurrency
        self.name = name or f"{socket.gethostname()} {os.getpid()}"
        self.lease = lease if isinstance(lease, timedelta) else timedelta(seconds=lease)
        self.wait = wait
        self.poll_interval = poll_interval
        self.grace = grace
        self._handlers: dict[str, Handler] = {}
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._check()

    def _check(self) -> None:
        if not self.queues or not all(self.queues):
            raise ValueError("queue must name at least one queue")
        if not 1 <= self.concurrency <= 10_000:
            raise ValueError("concurrency must be from 1 to 10000")
        if self.lease <= timedelta(0):
            raise ValueError("lease must be positive")
        if self.wait not in ("call", "poll"):
            raise ValueError('wait must be "call" or "poll"')
        if self.poll_interval <= 0:
            raise ValueError("poll_interval must be positive")
        if self.grace < 0:
            raise ValueError("grace must not be negative")

    def task(
        self, name: str | None = None, *, no_retry_on: type[BaseException] | tuple[type[BaseException], ...] = ()
    ) -> Callable[[F], F]:
        """Registers a handler for the tasks of a name (default: the function's).

        It gets the task, and the keys of its input as keyword arguments; an input that is no object, as one argument.
        An ordinary function runs in a thread, a coroutine function on the event loop. What it returns is the result,
        as JSON. An exception is a failed attempt; one of no_retry_on is the last.
        """

        def register(function: F) -> F:
            key: str = name or function.__name__
            if key in self._handlers:
                raise ValueError(f'task "{key}" has a handler already')
            classes = no_retry_on if isinstance(no_retry_on, tuple) else (no_retry_on,)
            self._handlers[key] = Handler(key, function, classes)
            return function

        return register

    def run(self) -> None:
        """Works until it is stopped: by ``stop``, or, in the main thread, by SIGTERM or SIGINT. A second signal does
        not wait for handlers."""
        asyncio.run(self._run_with_signals())

    async def _run_with_signals(self) -> None:
        loop = asyncio.get_running_loop()
        caught = []
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, self.stop)
                caught.append(number)
            except (ValueError, RuntimeError):
                pass  # not the main thread
        try:
            await self.run_async()
        finally:
            for number in caught:
                loop.remove_signal_handler(number)

    async def run_async(self) -> None:
        """``run`` on an event loop of yours, whose signals are yours."""
        if self._engine is not None:
            raise RuntimeError("the worker runs already")
        self._check()
        poll_interval = self.poll_interval if self.wait == "poll" else None
        self._loop = asyncio.get_running_loop()
        self._engine = Engine(
            Options(self.conninfo, self.queues, self.concurrency, self.name, self.lease, poll_interval, self.grace),
            self._handlers,
        )
        try:
            await self._engine.run()
        finally:
            self._engine = self._loop = None

    def stop(self, grace: float | None = None) -> None:
        """Ends ``run``, from any thread or handler: takes no more tasks, waits up to the grace time for those that it
        has, and hands back the rest. Called again it waits no longer."""
        engine, loop = self._engine, self._loop
        if engine is not None and loop is not None:
            loop.call_soon_threadsafe(engine.stop, grace)
