"""A worker and its options, against a server that does well. See test_crash for the others."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import Cluster, eventually, running

import pg_workflow
from pg_workflow import Client, Task, TaskCancelled, TaskFailed, Worker, _calls

ONE_ATTEMPT = {"max_attempts": 1}
AT_ONCE = {"max_attempts": 5, "first_delay": "0.01 s", "backoff": 1}


@pytest.fixture
def worker(cluster: Cluster, queue: str) -> Worker:
    return Worker(cluster.conninfo, queue=queue, name=f"worker of {queue}", concurrency=4)


def call(client: Client, queue: str, name: str, **input: Any) -> str:
    """Starts a workflow of one task; arguments with _ are of the workflow, others of the task."""
    own = {key[1:]: input.pop(key) for key in list(input) if key.startswith("_")}
    return client.start("call_task", {"queue": queue, "name": name, "input": input, **own})


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


def test_default_name_is_of_the_process(cluster: Cluster) -> None:
    import os

    assert Worker(cluster.conninfo, queue="q").name.endswith(f" {os.getpid()}")


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


def test_several_queues_the_first_one_first(client: Client, cluster: Cluster, queue: str) -> None:
    done: list[str] = []
    worker = Worker(cluster.conninfo, queue=[f"{queue}-urgent", queue], concurrency=1)

    @worker.task("note")
    def note(task: Task) -> None:
        done.append(task.queue)

    ids = [call(client, queue, "note"), call(client, queue, "note"), call(client, f"{queue}-urgent", "note")]
    eventually(lambda: cluster.value("SELECT count(*) FROM wf.tasks WHERE queue LIKE %s", f"{queue}%") == 3)
    with running(worker):
        for id in ids:
            client.result(id, wait=20)
    assert done == [f"{queue}-urgent", queue, queue]


def test_misuse_is_refused(cluster: Cluster, worker: Worker) -> None:
    wrongs: list[dict[str, Any]] = [
        {"queue": []},
        {"queue": ""},
        {"concurrency": 0},
        {"concurrency": 10_001},
        {"lease": 0},
        {"wait": "sleep"},
        {"poll_interval": 0},
        {"grace": -1},
    ]
    for wrong in wrongs:
        arguments: Any = {"queue": "q", **wrong}
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Worker(cluster.conninfo, **arguments)
    worker.task("one")(lambda task: None)
    with pytest.raises(ValueError, match='"one" has a handler'):
        worker.task("one")(lambda task: None)
    worker.stop()  # does not run: nothing to do


def test_runs_once_at_a_time(worker: Worker) -> None:
    async def main() -> None:
        work = asyncio.create_task(worker.run_async())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="runs already"):
            await worker.run_async()
        worker.stop()
        await work

    asyncio.run(main())


def test_a_server_that_does_not_know_us_ends_the_worker(cluster: Cluster, queue: str) -> None:
    cluster.sql("DROP DATABASE IF EXISTS bare")
    cluster.sql("CREATE DATABASE bare")
    with pytest.raises(psycopg.errors.UndefinedFunction, match="wf_poll"):
        Worker(cluster.conninfo.replace("dbname=postgres", "dbname=bare"), queue=queue).run()


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


# --- room ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["call", "poll"])
def test_takes_what_it_has_room_for(client: Client, cluster: Cluster, queue: str, wait: Any) -> None:
    worker = Worker(cluster.conninfo, queue=queue, concurrency=3, wait=wait, poll_interval=0.1)
    go = threading.Semaphore(0)
    at_work = 0
    most = 0
    lock = threading.Lock()

    @worker.task("work")
    def work(task: Task) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        go.acquire(timeout=20)
        with lock:
            at_work -= 1

    ids = [call(client, queue, "work") for _ in range(8)]

    def has(number: int, status: str) -> bool:
        count = cluster.value("SELECT count(*) FROM wf.tasks WHERE queue = %s AND status = %s", queue, status)
        return bool(count == number)

    eventually(lambda: has(8, "waiting"))
    with running(worker):
        eventually(lambda: at_work == 3)
        time.sleep(0.5)  # for a worker that takes more than it has room for
        assert has(3, "running")
        assert has(5, "waiting")
        # One by one, so that there is room for one.
        for number in range(1, 9):
            go.release()
            eventually(partial(has, number, "completed"))
        for id in ids:
            client.result(id, wait=20)
    assert most == 3


def test_completions_go_together(client: Client, cluster: Cluster, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def complete_all(results: dict[str, str]) -> Any:
        sizes.append(len(results))
        return original(results)

    original = _calls.complete_all
    monkeypatch.setattr(_calls, "complete_all", complete_all)
    worker = Worker(cluster.conninfo, queue=queue, concurrency=20)
    everybody = asyncio.Event()
    here = 0

    @worker.task("meet")
    async def meet(task: Task, number: int) -> int:
        nonlocal here
        here += 1
        if here == 20:
            everybody.set()
        await everybody.wait()
        return number

    with running(worker):
        ids = [call(client, queue, "meet", number=number) for number in range(20)]
        assert [client.result(id, wait=20) for id in ids] == list(range(20))
    assert sum(sizes) == 20
    assert len(sizes) < 10


def test_one_bad_result_does_not_hinder_the_others(client: Client, cluster: Cluster, queue: str) -> None:
    worker = Worker(cluster.conninfo, queue=queue, concurrency=10)
    everybody = threading.Barrier(10)

    @worker.task("meet")
    def meet(task: Task, number: int) -> Any:
        everybody.wait(20)
        return "a\0b" if number == 5 else number

    with running(worker):
        ids = [call(client, queue, "meet", number=number, _retry=ONE_ATTEMPT) for number in range(10)]
        for number, id in enumerate(ids):
            if number == 5:
                with pytest.raises(TaskFailed, match="unsupported Unicode"):
                    client.result(id, wait=20)
            else:
                assert client.result(id, wait=20) == number


@pytest.mark.parametrize("wait", ["call", "poll"])
def test_waits_for_work(
    client: Client, cluster: Cluster, queue: str, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls: list[str] = []

    def poll(*arguments: Any) -> _calls.Call:
        call = original(*arguments)
        polls.append(call.query.decode())
        return call

    original = _calls.poll
    monkeypatch.setattr(_calls, "poll", poll)
    worker = Worker(cluster.conninfo, queue=queue, wait=wait, poll_interval=0.3)
    worker.task("work")(lambda task: "done")
    with running(worker):
        eventually(lambda: polls)
        time.sleep(1)
        # In the server once, or now and then not at all.
        if wait == "call":
            assert len(polls) == 1
        else:
            assert 2 <= len(polls) <= 5
        assert client.result(call(client, queue, "work"), wait=20) == "done"
    assert all(("CALL wf_poll" in query) == (wait == "call") for query in polls)


def test_stops_at_once_while_it_waits(cluster: Cluster, worker: Worker) -> None:
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE query ~ 'CALL wf_poll' AND state = 'active' AND application_name ~ %s"
    )
    with running(worker):
        eventually(lambda: cluster.sql(waiting, worker.name))
        begun = time.monotonic()
    assert time.monotonic() - begun < 5


def test_waits_longer_than_the_statement_timeout(client: Client, cluster: Cluster, queue: str) -> None:
    worker = Worker(cluster.conninfo + " options='-c statement_timeout=300ms'", queue=queue, name=f"worker of {queue}")
    worker.task("work")(lambda task: "done")
    waiting = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND query ~ 'CALL wf_poll'"

    def polls() -> list[Any]:
        return cluster.sql(waiting, f"pg_workflow worker {worker.name}")

    with running(worker):
        before = eventually(polls)
        time.sleep(1)
        assert polls() == before
        assert client.result(call(client, queue, "work"), wait=20) == "done"


# --- signs of life ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_heartbeats_keep_the_lease(client: Client, cluster: Cluster, queue: str, kind: str) -> None:
    worker = Worker(cluster.conninfo, queue=queue, lease=1)
    attempts: list[int] = []

    @worker.task("sync")
    def slow(task: Task) -> str:
        attempts.append(task.attempt)
        time.sleep(3)
        return "slow"

    @worker.task("async")
    async def slow_too(task: Task) -> str:
        attempts.append(task.attempt)
        await asyncio.sleep(3)
        return "slow"

    with running(worker):
        assert client.result(call(client, queue, kind), wait=20) == "slow"
    assert attempts == [1]


def test_heartbeats_keep_a_shorter_limit_of_the_task(client: Client, worker: Worker, queue: str) -> None:
    # The worker asks for a minute, and gets a second.
    @worker.task("slow")
    def slow(task: Task) -> int:
        time.sleep(2.5)
        return task.attempt

    with running(worker):
        assert client.result(call(client, queue, "slow", _heartbeat="1 s"), wait=20) == 1


def test_details_go_to_the_next_attempt(client: Client, cluster: Cluster, worker: Worker, queue: str) -> None:
    @worker.task("count")
    def count(task: Task) -> int:
        done: int = task.heartbeat_details["done"] if task.heartbeat_details else 0
        while done < 10:
            done += 1
            task.heartbeat({"done": done})
            if done == 6:
                raise ConnectionError("in the middle")
        return done + 100 * task.attempt

    with running(worker):
        id = call(client, queue, "count", _retry=AT_ONCE)
        assert client.result(id, wait=20) == 210
    # The last ones before the failure, though they came within a second of the first.
    assert cluster.value("SELECT heartbeat FROM wf.tasks WHERE id = %s", id)["done"] >= 6


def test_details_are_sent_once_a_second(
    client: Client, worker: Worker, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str | None] = []

    def heartbeat(task: str, details: str | None) -> _calls.Call:
        sent.append(details)
        return original(task, details)

    original = _calls.heartbeat
    monkeypatch.setattr(_calls, "heartbeat", heartbeat)

    @worker.task("count")
    def count(task: Task) -> None:
        for number in range(150):
            task.heartbeat(number)
            time.sleep(0.01)

    with running(worker):
        client.result(call(client, queue, "count"), wait=20)
    assert 1 <= len(sent) <= 4


def test_details_are_seen_while_it_works(client: Client, cluster: Cluster, worker: Worker, queue: str) -> None:
    go = threading.Event()

    @worker.task("show")
    async def show(task: Task) -> None:
        task.heartbeat("here")
        with pytest.raises(TypeError):
            task.heartbeat({1, 2})
        await asyncio.to_thread(go.wait, 20)

    with running(worker):
        id = call(client, queue, "show")
        eventually(lambda: cluster.sql("SELECT 1 FROM wf.tasks WHERE id = %s AND heartbeat = '\"here\"'", id))
        go.set()
        client.result(id, wait=20)


# --- cancellation ----------------------------------------------------------------------------------------------------


def test_cancel_reaches_a_thread(client: Client, cluster: Cluster, queue: str) -> None:
    worker = Worker(cluster.conninfo, queue=queue, lease=1)
    told = threading.Event()
    reasons: list[str] = []

    @worker.task("work")
    def work(task: Task) -> None:
        try:
            while True:
                assert task.cancelled is False
                task.heartbeat()
                time.sleep(0.02)
        except (TaskCancelled, AssertionError):
            assert task.cancelled
            try:
                task.heartbeat()
            except TaskCancelled as error:
                reasons.append(str(error))
            told.set()
            raise

    with running(worker):
        id = call(client, queue, "work")
        eventually(lambda: cluster.sql("SELECT 1 FROM wf.tasks WHERE id = %s AND status = 'running'", id))
        client.cancel(id)
        assert told.wait(20)
    assert reasons == ['task "work" is to be given up: its call was cancelled, or its instance has ended']
    assert cluster.value("SELECT status FROM wf.tasks WHERE id = %s", id) == "cancelled"


def test_cancel_reaches_a_coroutine(
    client: Client, cluster: Cluster, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pg_workflow")
    worker = Worker(cluster.conninfo, queue=queue, lease=1)
    told = threading.Event()

    @worker.task("work")
    async def work(task: Task) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            assert task.cancelled
            told.set()
            raise

    with running(worker):
        id = call(client, queue, "work")
        eventually(lambda: cluster.sql("SELECT 1 FROM wf.tasks WHERE id = %s AND status = 'running'", id))
        client.cancel(id)
        assert told.wait(20)
        eventually(lambda: "was given up" in caplog.text)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_deadline_reaches_the_handler(
    client: Client, worker: Worker, queue: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []

    @worker.task("sync")
    def work(task: Task) -> str:
        while task.attempt == 1 and not task.cancelled:
            time.sleep(0.02)
        told.append(task.attempt)
        return f"attempt {task.attempt}"

    @worker.task("async")
    async def work_too(task: Task) -> str:
        try:
            await asyncio.sleep(60 if task.attempt == 1 else 0)
        finally:
            told.append(task.attempt)
        return f"attempt {task.attempt}"

    begun = time.monotonic()
    with running(worker):
        id = call(client, queue, kind, _timeout="1 s", _retry=AT_ONCE)
        assert client.result(id, wait=20) == "attempt 2"
    assert sorted(told) == [1, 2]
    assert "was given up: its deadline has passed" in caplog.text
    # With its minute of lease it would have asked after 20 s.
    assert time.monotonic() - begun < 15


def test_lost_lease_reaches_the_handler(
    client: Client, cluster: Cluster, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(cluster.conninfo, queue=queue, lease=1)
    first: list[str] = []

    @worker.task("work")
    def work(task: Task) -> str:
        if task.attempt == 1:
            with psycopg.connect(cluster.conninfo) as connection:
                connection.execute("SELECT wf_fail(%s, 'somebody else says so', delay => '0')", [task.token])
            while not task.cancelled:
                time.sleep(0.02)
            first.append("told")
            return "of nobody"
        return "of the second"

    with running(worker):
        assert client.result(call(client, queue, "work", _retry=AT_ONCE), wait=20) == "of the second"
        eventually(lambda: first)
        eventually(lambda: "was given up: it is not this worker's any more" in caplog.text)


def test_result_of_a_lost_task_is_dropped(
    client: Client, cluster: Cluster, worker: Worker, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    @worker.task("work")
    def work(task: Task) -> str:
        if task.attempt == 1:
            with psycopg.connect(cluster.conninfo) as connection:
                connection.execute("SELECT wf_fail(%s, 'somebody else says so', delay => '0')", [task.token])
        return f"of attempt {task.attempt}"

    @worker.task("fail")
    def fail(task: Task) -> str:
        if task.attempt == 1:
            client.cancel(task.id)
            raise ValueError("too late")
        return ""

    with running(worker):
        assert client.result(call(client, queue, "work", _retry=AT_ONCE), wait=20) == "of attempt 2"
        eventually(lambda: "was lost: its result is dropped" in caplog.text)
        call(client, queue, "fail")
        eventually(lambda: "was lost: Its call was cancelled, or its instance has ended." in caplog.text)


# --- exactly once, in the database -----------------------------------------------------------------------------------


def test_completes_in_a_transaction_of_the_handler(
    client: Client, cluster: Cluster, worker: Worker, queue: str
) -> None:
    cluster.sql("CREATE TABLE IF NOT EXISTS effects (id text, attempt integer)")

    @worker.task("sync")
    def effect(task: Task) -> str:
        with psycopg.connect(cluster.conninfo) as connection:
            connection.execute("INSERT INTO effects VALUES (%s, %s)", [task.id, task.attempt])
            assert task.complete(connection, {"by": "me"}) is True
            assert task.complete(connection, {"by": "me"}) is False
            if task.attempt == 1:
                raise ValueError("rolled back")
        return "not this"

    @worker.task("async")
    async def effect_too(task: Task) -> str:
        async with await psycopg.AsyncConnection.connect(cluster.conninfo) as connection:
            await connection.execute("INSERT INTO effects VALUES (%s, %s)", [task.id, task.attempt])
            assert await task.acomplete(connection, {"by": "me"}) is True
            if task.attempt == 1:
                raise ValueError("rolled back")
        return "not this"

    @worker.task("late")
    def late(task: Task) -> None:
        client.cancel(task.id)
        with psycopg.connect(cluster.conninfo) as connection:
            connection.execute("INSERT INTO effects VALUES (%s, 0)", [task.id])
            with pytest.raises(pg_workflow.TaskLost):
                task.complete(connection)
            raise TaskFailed("was late")

    with running(worker):
        for kind in ("sync", "async"):
            id = call(client, queue, kind, _retry=AT_ONCE)
            assert client.result(id, wait=20) == {"by": "me"}
            assert cluster.sql("SELECT attempt FROM effects WHERE id = %s", id) == [(2,)]
        id = call(client, queue, "late")
        with pytest.raises(pg_workflow.WorkflowCancelled):
            client.result(id, wait=20)
        assert cluster.sql("SELECT 1 FROM effects WHERE id = %s", id) == []


def test_a_completion_that_was_rolled_back_does_not_count(client: Client, cluster: Cluster, queue: str) -> None:
    worker = Worker(cluster.conninfo, queue=queue, lease=1)

    @worker.task("work")
    def work(task: Task) -> int:
        if task.attempt == 1:
            with psycopg.connect(cluster.conninfo) as connection:
                task.complete(connection, "rolled back")
                connection.rollback()
        return task.attempt

    with running(worker):
        assert client.result(call(client, queue, "work", _retry=AT_ONCE), wait=20) == 2


# --- roles -----------------------------------------------------------------------------------------------------------


def test_a_role_that_may_only_work(client: Client, cluster: Cluster, queue: str) -> None:
    cluster.sql("DROP ROLE IF EXISTS mailer")
    cluster.sql("CREATE ROLE mailer LOGIN")
    cluster.sql("SELECT wf_queue(%s, workers => '{mailer}')", queue)
    worker = Worker(cluster.conninfo.replace("user=postgres", "user=mailer"), queue=queue)
    worker.task("work")(lambda task: "done")
    with running(worker):
        id = call(client, queue, "work")
        assert client.result(id, wait=20) == "done"
    assert cluster.value("SELECT worker_role::regrole::text FROM wf.tasks WHERE id = %s", id) == "mailer"
    cluster.sql("SELECT wf_queue(%s, workers => '{}')", queue)
