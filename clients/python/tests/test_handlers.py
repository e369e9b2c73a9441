"""Handlers: what they get, where they run, and what becomes of results and exceptions."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from conftest import AT_ONCE, ONE_ATTEMPT, Cluster, call, running

from pg_workflow import Client, Task, TaskFailed, Worker

# --- handlers --------------------------------------------------------------------------------------------------------


def test_input_becomes_arguments(client: Client, worker: Worker, queue: str) -> None:
    @worker.task("add")
    def add(task: Task, left: int, right: int = 10) -> int:
        return left + right

    @worker.task()
    async def multiply(task: Task, left: int, right: int) -> int:
        await asyncio.sleep(0)
        return left * right

    @worker.task("count")
    def count(task: Task, items: list[int]) -> int:
        return len(items)

    with running(worker):
        ids = [
            call(client, queue, "add", left=1),
            call(client, queue, "add", left=1, right=2),
            call(client, queue, "multiply", left=3, right=4),
            call(client, queue, "count", _input=[1, 2, 3]),
        ]
        assert [client.result(id, wait=20) for id in ids] == [11, 3, 12, 3]


def test_handlers_run_where_they_belong(client: Client, worker: Worker, queue: str) -> None:
    @worker.task("sync")
    def sync(task: Task) -> list[Any]:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return [threading.current_thread().name, threading.current_thread().daemon]

    @worker.task("async")
    async def on_loop(task: Task) -> bool:
        return asyncio.get_running_loop().is_running()

    class Called:
        async def __call__(self, task: Task) -> str:
            return "called"

    worker.task("object")(Called())
    with running(worker):
        id = call(client, queue, "sync")
        assert client.result(id, wait=20) == [f"sync {id}", True]
        assert client.result(call(client, queue, "async"), wait=20) is True
        assert client.result(call(client, queue, "object"), wait=20) == "called"


def test_task_says_what_it_is(client: Client, cluster: Cluster, worker: Worker, queue: str) -> None:
    seen: list[Task] = []

    @worker.task("look")
    def look(task: Task, **input: Any) -> None:
        seen.append(task)
        if task.attempt == 1:
            raise ValueError("once more")

    with running(worker):
        id = call(client, queue, "look", a=1, _retry=AT_ONCE, _timeout="1 hour")
        assert client.result(id, wait=20) is None
    first, second = seen
    assert (first.id, first.workflow, first.queue, first.name) == (id, "call_task", queue, "look")
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.input == {"a": 1}
    assert first.idempotency_key == second.idempotency_key
    assert first.token != second.token
    assert first.token not in repr(first)
    assert first.deadline is not None
    assert abs(first.deadline - datetime.now(timezone.utc) - timedelta(hours=1)) < timedelta(minutes=5)
    assert first.heartbeat_details is None
    assert not first.cancelled
    assert cluster.value("SELECT worker FROM wf.tasks WHERE id = %s", id) == f"worker of {queue}"


def test_context_goes_along(client: Client, worker: Worker, queue: str) -> None:
    from contextvars import ContextVar

    variable = ContextVar("variable", default="unset")

    @worker.task("look")
    def look(task: Task) -> str:
        return variable.get()

    async def main() -> str:
        variable.set("set outside")
        work = asyncio.create_task(worker.run_async())
        id = call(client, queue, "look")
        result = await asyncio.to_thread(client.result, id, 20)
        worker.stop()
        await work
        return str(result)

    assert asyncio.run(main()) == "set outside"


# --- failures --------------------------------------------------------------------------------------------------------


def caught(client: Client, queue: str, name: str) -> Any:
    return client.result(client.start("caught_task", {"queue": queue, "name": name}), wait=20)


def test_exceptions_are_failures(client: Client, worker: Worker, queue: str) -> None:
    @worker.task("fails")
    def fails(task: Task) -> None:
        raise LookupError("there is none")

    @worker.task("fails without a word")
    async def fails_silently(task: Task) -> None:
        raise KeyError

    with running(worker):
        error = caught(client, queue, "fails")
        assert (error["sqlstate"], error["message"]) == ("WF008", "LookupError: there is none")
        line = fails.__code__.co_firstlineno + 2
        assert error["detail"] == f"Raised in fails, {Path(__file__)} line {line}."
        assert caught(client, queue, "fails without a word")["message"] == "KeyError"
        with pytest.raises(TaskFailed, match="there is none"):
            client.result(call(client, queue, "fails", _retry=ONE_ATTEMPT), wait=20)


def test_failures_are_tried_again(client: Client, worker: Worker, queue: str) -> None:
    attempts: list[int] = []

    @worker.task("flaky")
    def flaky(task: Task) -> str:
        attempts.append(task.attempt)
        if task.attempt < 3:
            raise OSError("not yet")
        return "done"

    with running(worker):
        assert client.result(call(client, queue, "flaky", _retry=AT_ONCE), wait=20) == "done"
    assert attempts == [1, 2, 3]


def test_no_retry_on(client: Client, worker: Worker, queue: str) -> None:
    attempts: list[str] = []

    @worker.task("one class", no_retry_on=ValueError)
    def one(task: Task) -> None:
        attempts.append(task.name)
        raise UnicodeError("a kind of ValueError")

    @worker.task("two classes", no_retry_on=(ValueError, OSError))
    def two(task: Task) -> None:
        attempts.append(task.name)
        raise OSError("for good")

    with running(worker):
        for name in ("one class", "two classes"):
            with pytest.raises(TaskFailed):
                client.result(call(client, queue, name, _retry=AT_ONCE), wait=20)
    assert attempts == ["one class", "two classes"]


def test_task_failed_says_how(client: Client, cluster: Cluster, worker: Worker, queue: str) -> None:
    attempts: list[float] = []

    @worker.task("declined")
    def declined(task: Task) -> None:
        raise TaskFailed("card declined", retryable=False, sqlstate="P0402", detail="no money")

    @worker.task("later")
    def later(task: Task) -> None:
        attempts.append(time.monotonic())
        if task.attempt == 1:
            raise TaskFailed("busy", delay=1.5)

    with running(worker):
        error = caught(client, queue, "declined")
        assert error == {"sqlstate": "P0402", "message": "card declined", "detail": "no money"}
        client.result(call(client, queue, "later", _retry=AT_ONCE), wait=20)
    assert attempts[1] - attempts[0] >= 1.4


def test_failures_that_postgres_does_not_take(client: Client, worker: Worker, queue: str) -> None:
    @worker.task("odd state")
    def odd_state(task: Task) -> None:
        raise TaskFailed("it is odd", sqlstate="WF001")

    @worker.task("odd text")
    def odd_text(task: Task) -> None:
        raise ValueError("a\0b\ud800c" + "x" * 20_000)

    with running(worker):
        error = caught(client, queue, "odd state")
        assert (error["sqlstate"], error["message"]) == ("WF008", "it is odd")
        assert "sqlstate must be" in error["detail"]
        error = caught(client, queue, "odd text")
        assert error["message"].startswith("ValueError: a\ufffdb?cxxx")
        assert error["message"].endswith("x ...")
        assert len(error["message"]) < 11_000


def test_input_that_does_not_fit(client: Client, worker: Worker, queue: str) -> None:
    attempts: list[int] = []

    @worker.task("add")
    def add(task: Task, left: int, right: int) -> int:
        attempts.append(task.attempt)
        return left + right

    with running(worker):
        for input in ({"left": 1}, {"left": 1, "right": 2, "up": 3}, {"task": 1, "left": 1, "right": 2}, [1]):
            with pytest.raises(TaskFailed, match=r'input does not fit task "add": .*(left|right|up|task)'):
                client.result(call(client, queue, "add", _input=input, _retry=AT_ONCE), wait=20)
    assert attempts == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, 'result of task "returns" is not JSON: .*set'),
        (math.nan, 'result of task "returns" is not JSON: .*'),
        ("a\0b", 'result of task "returns" was refused: unsupported Unicode'),
        ("x" * (17 << 20), 'result of task "returns" was refused: result of task "returns" is too large'),
    ],
    ids=["set", "nan", "nul", "large"],
)
def test_result_that_cannot_be_kept(client: Client, worker: Worker, queue: str, value: Any, message: str) -> None:
    attempts: list[int] = []

    @worker.task("returns")
    def returns(task: Task) -> Any:
        attempts.append(task.attempt)
        return value

    with running(worker), pytest.raises(TaskFailed, match=message):
        client.result(call(client, queue, "returns", _retry=AT_ONCE), wait=20)
    assert attempts == [1]


def test_unknown_tasks_are_handed_back(client: Client, cluster: Cluster, worker: Worker, queue: str) -> None:
    worker.task("known")(lambda task: None)
    other = Worker(cluster.conninfo, queue=queue, name="other")
    other.task("unknown")(lambda task: "done by the other")
    with running(worker):
        error = caught(client, queue, "unknown")
        assert error["message"] == f'worker "{worker.name}" has no task "unknown"'
        assert error["detail"] == "It has known."
        id = call(client, queue, "unknown", _retry={"max_attempts": 50, "first_delay": "0.2 s", "backoff": 1})
        with running(other):
            assert client.result(id, wait=20) == "done by the other"


def test_exits_of_handlers_do_not_end_the_worker(client: Client, worker: Worker, queue: str) -> None:
    @worker.task("exit")
    def exits(task: Task) -> None:
        raise SystemExit("bye")

    @worker.task("async exit")
    async def exits_too(task: Task) -> None:
        raise asyncio.CancelledError

    with running(worker):
        assert caught(client, queue, "exit")["message"] == "SystemExit: bye"
        assert caught(client, queue, "async exit")["message"] == "CancelledError"
