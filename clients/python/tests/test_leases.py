"""Signs of life, and handlers that are told to stop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import psycopg
import pytest
from conftest import AT_ONCE, Cluster, call, eventually, running

from pg_workflow import Client, Task, TaskCancelled, Worker, _calls

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
            eventually(lambda: client.status(task.id) == "cancelled")
            raise ValueError("too late")
        return ""

    with running(worker):
        assert client.result(call(client, queue, "work", _retry=AT_ONCE), wait=20) == "of attempt 2"
        eventually(lambda: "was lost: its result is dropped" in caplog.text)
        call(client, queue, "fail")
        eventually(lambda: "was lost: Its call was cancelled, or its instance has ended." in caplog.text)
