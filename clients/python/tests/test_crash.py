"""Servers that are killed, connections that are lost: nothing is lost or counted twice, and the worker goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest
from conftest import Cluster, eventually, running

from pg_workflow import Client, Task, Worker, _engine


@contextmanager
def starting_tasks(cluster: Cluster, queue: str, ids: list[str]) -> Iterator[None]:
    """Starts workflows all the time, also while the server goes and comes; each id once."""
    end = threading.Event()

    def run() -> None:
        with Client(cluster.conninfo) as client:
            number = 0
            while not end.wait(0.01):
                id = f"{queue}-{number}"
                try:
                    client.start("call_task", {"queue": queue, "name": "count", "input": {"number": number}}, id=id)
                except psycopg.OperationalError:
                    time.sleep(0.1)
                else:
                    ids.append(id)
                    number += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def reached(ids: list[str], goal: int) -> bool:
    return len(ids) >= goal


@pytest.mark.parametrize("wait", ["call", "poll"])
def test_server_is_killed_under_a_busy_worker(client: Client, cluster: Cluster, queue: str, wait: Any) -> None:
    worker = Worker(cluster.conninfo, queue=queue, concurrency=8, lease=3, wait=wait, poll_interval=0.05)

    @worker.task("count")
    async def count(task: Task, number: int) -> int:
        await asyncio.sleep(0.05)
        return number

    ids: list[str] = []
    with running(worker):
        with starting_tasks(cluster, queue, ids):
            for _ in range(2):
                eventually(partial(reached, ids, len(ids) + 100))
                cluster.kill()
                time.sleep(0.5)
                cluster.start()
            eventually(partial(reached, ids, len(ids) + 100))
        for number, id in enumerate(ids):
            assert client.result(id, wait=30) == number
    # One of each, and completed once: by the attempt that it counts.
    counts = "SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE status = 'completed') FROM wf.tasks"
    assert cluster.sql(f"{counts} WHERE queue = %s", queue) == [(len(ids),) * 3]
    assert cluster.value("SELECT count(*) FROM wf.tasks WHERE queue = %s AND attempt > 2", queue) == 0


def test_results_wait_for_the_server(client: Client, cluster: Cluster, queue: str) -> None:
    worker = Worker(cluster.conninfo, queue=queue, name="patient")
    begun, killed = threading.Event(), threading.Event()

    @worker.task("work")
    def work(task: Task) -> int:
        begun.set()
        killed.wait(20)
        return task.attempt

    with running(worker):
        id = client.start("call_task", {"queue": queue, "name": "work"})
        assert begun.wait(20)
        cluster.kill()
        killed.set()
        time.sleep(1)
        cluster.start()
        # Of the first attempt: nobody had to do it again.
        assert client.result(id, wait=20) == 1


def test_a_report_whose_answer_was_lost_is_repeated(
    client: Client, cluster: Cluster, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pg_workflow import _reports

    lost: list[str] = []
    execute = _reports.execute

    async def execute_and_lose(connection: Any, call: Any) -> Any:
        answer = await execute(connection, call)
        if b"wf_complete" in call.query and not lost:
            lost.append("once")
            await connection.close()
            raise psycopg.OperationalError("the connection is lost")
        if b"wf_complete" in call.query:
            lost.append(str(answer))
        return answer

    monkeypatch.setattr(_reports, "execute", execute_and_lose)
    worker = Worker(cluster.conninfo, queue=queue)
    worker.task("work")(lambda task: task.attempt)
    with running(worker):
        id = client.start("call_task", {"queue": queue, "name": "work"})
        assert client.result(id, wait=20) == 1
        eventually(lambda: len(lost) == 2)
    assert "repeated" in lost[1]


def test_connections_that_are_ended_are_made_anew(client: Client, cluster: Cluster, queue: str) -> None:
    worker = Worker(cluster.conninfo, queue=queue, name=f"worker of {queue}")
    worker.task("work")(lambda task: "done")
    mine = "FROM pg_stat_activity WHERE application_name = 'pg_workflow worker ' || %s"
    with running(worker):
        for _ in range(3):
            eventually(lambda: cluster.sql(f"SELECT 1 {mine}", worker.name))
            cluster.sql(f"SELECT pg_terminate_backend(pid) {mine}", worker.name)
            id = client.start("call_task", {"queue": queue, "name": "work"})
            assert client.result(id, wait=20) == "done"


def test_a_worker_waits_for_a_server_that_is_not_there_yet(client: Client, cluster: Cluster, queue: str) -> None:
    worker = Worker(cluster.conninfo, queue=queue)
    worker.task("work")(lambda task: "done")
    cluster.kill()
    with running(worker):
        time.sleep(0.5)
        cluster.start()
        id = client.start("call_task", {"queue": queue, "name": "work"})
        assert client.result(id, wait=20) == "done"


def test_a_worker_stops_while_the_server_is_away(
    client: Client, cluster: Cluster, queue: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_engine, "REPORT_TIME", 1)
    worker = Worker(cluster.conninfo, queue=queue, grace=0)

    async def main() -> None:
        begun = asyncio.Event()

        @worker.task("work")
        async def work(task: Task) -> None:
            begun.set()
            await asyncio.sleep(60)

        running = asyncio.create_task(worker.run_async())
        await asyncio.wait_for(begun.wait(), 20)
        cluster.kill()
        worker.stop()
        await asyncio.wait_for(running, 20)
        # Nothing goes on behind its back.
        assert asyncio.all_tasks() == {asyncio.current_task()}

    client.start("call_task", {"queue": queue, "name": "work"})
    try:
        asyncio.run(main())
    finally:
        cluster.start()
    assert "could not be reported in time; its lease will expire" in caplog.text
