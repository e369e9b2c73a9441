"""A worker and its options, against a server that does well. See test_crash for others."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from typing import Any

import psycopg
import pytest
from conftest import AT_ONCE, ONE_ATTEMPT, Cluster, call, eventually, running

import pg_workflow
from pg_workflow import Client, Task, TaskFailed, Worker, _calls

# --- options ---------------------------------------------------------------------------------------------------------


def test_default_name_is_of_the_process(cluster: Cluster) -> None:
    import os

    assert Worker(cluster.conninfo, queue="q").name.endswith(f" {os.getpid()}")


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
        eventually(lambda: client.status(task.id) == "cancelled")
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
