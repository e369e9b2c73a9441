"""Handlers: what the user has registered for tasks, called in a thread or on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

from ._task import Task
from .errors import TaskFailed


@dataclass(frozen=True)
class Returned:
    value: Any


@dataclass(frozen=True)
class Raised:
    error: BaseException


Outcome: TypeAlias = Returned | Raised


class Handler:
    def __init__(self, name: str, function: Callable[..., Any], no_retry_on: tuple[type[BaseException], ...]) -> None:
        self.name = name
        self._function = function
        self._no_retry_on = no_retry_on
        self._signature = inspect.signature(function)
        # Of an object that can be called, its method says what it is.
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)

    def begin(self, task: Task) -> asyncio.Future[Outcome]:
        """Calls the function. An object's keys become keyword arguments, any other input the one argument."""
        arguments, keywords = ((), task.input) if isinstance(task.input, dict) else ((task.input,), {})
        try:
            self._signature.bind(task, *arguments, **keywords)
        except TypeError as error:
            loop = asyncio.get_running_loop()
            misfit = loop.create_future()
            message = f'input does not fit task "{self.name}": {error}'
            misfit.set_result(Raised(TaskFailed(message, retryable=False)))
            return misfit

        def call() -> Any:
            return self._function(task, *arguments, **keywords)

        return asyncio.create_task(_on_loop(call)) if self.is_async else _in_thread(call, f"{task.name} {task.id}")

    def failure(self, error: BaseException) -> TaskFailed:
        """What the server is told of an exception."""
        if isinstance(error, TaskFailed):
            return error
        frames = list(traceback.extract_tb(error.__traceback__))
        # The place in the handler's own file says more than the one in a library.
        file = inspect.getsourcefile(inspect.unwrap(self._function)) if inspect.isroutine(self._function) else None
        frames = [frame for frame in frames if frame.filename == file] or frames
        detail = f"Raised in {frames[-1].name}, {frames[-1].filename} line {frames[-1].lineno}." if frames else None
        text = f": {error}" if str(error) else ""
        return TaskFailed(
            f"{type(error).__name__}{text}", retryable=not isinstance(error, self._no_retry_on), detail=detail
        )


async def _on_loop(call: Callable[[], Coroutine[Any, Any, Any]]) -> Outcome:
    try:
        return Returned(await call())
    except BaseException as error:
        # Cancelled, too: it is for the worker to say what that means.
        return Raised(error)


def _in_thread(call: Callable[[], Any], name: str) -> asyncio.Future[Outcome]:
    """In a daemon thread of its own: one that does not end must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Outcome] = loop.create_future()
    context = contextvars.copy_context()

    def settle(outcome: Outcome) -> None:
        if not future.done():
            future.set_result(outcome)

    def target() -> None:
        outcome: Outcome
        try:
            outcome = Returned(context.run(call))
        except BaseException as error:
            outcome = Raised(error)
        # The loop is closed if the worker has ended without it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=target, name=name, daemon=True).start()
    return future
