"""Workers that are killed, or told to stop, by real signals in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster, eventually

from pg_workflow import Client, Task, TaskCancelled, Worker, _engine

# A worker as a user writes it. It tells what it does in the table "log".
MODULE = """
import asyncio, os, time
import psycopg
from pg_workflow import TaskCancelled, Worker

worker = Worker(os.environ["CONNINFO"], queue=os.environ["QUEUE"], concurrency=4, name=os.environ["NAME"],
                lease=float(os.environ["LEASE"]), grace=float(os.environ["GRACE"]))

def note(task, what):
    with psycopg.connect(os.environ["CONNINFO"], autocommit=True) as connection:
        connection.execute("INSERT INTO log VALUES (%s, %s, %s)", [task.id, os.environ["NAME"], what])

@worker.task("work")
def work(task, seconds):
    note(task, "begun")
    time.sleep(seconds)
    return os.environ["NAME"]

@worker.task("polite")
def polite(task, seconds):
    note(task, "begun")
    try:
        for _ in range(int(seconds * 20)):
            task.heartbeat()
            time.sleep(0.05)
    except TaskCancelled:
        note(task, "cancelled")
        raise
    return os.environ["NAME"]

@worker.task("async")
async def on_loop(task, seconds):
    note(task, "begun")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note(task, "cancelled")
        raise
    return os.environ["NAME"]
"""


@pytest.fixture(scope="module", autouse=True)
def _log(cluster: Cluster) -> None:
    cluster.sql("CREATE TABLE log (id text, worker text, what text)")


class Process:
    """``pg-workflow worker`` in a process of its own."""

    def __init__(self, cluster: Cluster, folder: Path, queue: str, name: str, *, lease: float, grace: float) -> None:
        (folder / "mailer.py").write_text(MODULE)
        environment = {
            "CONNINFO": cluster.conninfo,
            "QUEUE": queue,
            "NAME": name,
            "LEASE": str(lease),
            "GRACE": str(grace),
        }
        self._output = folder / f"{name}.log"
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pg_workflow", "worker", "mailer:worker", "--log-level", "debug"],
                cwd=folder,
                env={**os.environ, **environment},
                stderr=output,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()


@pytest.fixture
def worker_process(cluster: Cluster, tmp_path: Path, queue: str) -> Iterator[Any]:
    processes: list[Process] = []

    def begin(name: str, *, lease: float = 60, grace: float = 20) -> Process:
        process = Process(cluster, tmp_path, queue, name, lease=lease, grace=grace)
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.process.kill()
        process.process.wait()


def lasting(client: Client, queue: str, name: str, seconds: float, retry: Any = None) -> str:
    input = {"queue": queue, "name": name, "input": {"seconds": seconds}, "retry": retry}
    return client.start("call_task", input)


def noted(cluster: Cluster, id: str, what: str, worker: str | None = None) -> Any:
    return lambda: cluster.sql(
        "SELECT worker FROM log WHERE id = %s AND what = %s AND worker = coalesce(%s, worker)", id, what, worker
    )


def test_sigkill_another_takes_over_after_the_lease(
    client: Client, cluster: Cluster, queue: str, worker_process: Any
) -> None:
    first = worker_process("first", lease=2)
    id = lasting(client, queue, "work", 5, retry={"first_delay": "0.01 s"})
    eventually(noted(cluster, id, "begun", "first"))
    first.process.kill()
    worker_process("second", lease=2)
    assert client.result(id, wait=30) == "second"
    assert cluster.sql("SELECT attempt, status FROM wf.tasks WHERE id = %s", id) == [(2, "completed")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_tasks_end(
    client: Client, cluster: Cluster, queue: str, worker_process: Any, number: signal.Signals
) -> None:
    worker = worker_process("first")
    ids = [lasting(client, queue, name, 2) for name in ("work", "polite", "async")]
    for id in ids:
        eventually(noted(cluster, id, "begun"))
    worker.process.send_signal(number)
    late = lasting(client, queue, "work", 0)
    assert worker.process.wait(timeout=20) == 0
    # All of them, in their first attempt; and nothing that came after.
    for id in ids:
        assert client.result(id) == "first"
    assert cluster.sql("SELECT DISTINCT attempt FROM wf.tasks WHERE id = ANY (%s)", ids) == [(1,)]
    assert cluster.value("SELECT status FROM wf.tasks WHERE id = %s", late) == "waiting"


def test_what_does_not_end_is_handed_back(client: Client, cluster: Cluster, queue: str, worker_process: Any) -> None:
    worker = worker_process("first", grace=0.5)
    # Its policy allows no other attempt.
    ids = {name: lasting(client, queue, name, 60, retry={"max_attempts": 1}) for name in ("work", "polite", "async")}
    for id in ids.values():
        eventually(noted(cluster, id, "begun"))
    worker.process.send_signal(signal.SIGTERM)
    # The thread that does not listen does not keep the process.
    assert worker.process.wait(timeout=20) == 0
    assert worker.output.count("is handed back") == 3
    for id in ids.values():
        [(status, attempt, error)] = cluster.sql("SELECT status, attempt, error FROM wf.tasks WHERE id = %s", id)
        assert (status, attempt, error) == ("waiting", 0, 'worker "first" was stopped')
    assert noted(cluster, ids["polite"], "cancelled")()
    assert noted(cluster, ids["async"], "cancelled")()

    worker_process("second", grace=0)
    for id in ids.values():
        eventually(noted(cluster, id, "begun", "second"))


def test_what_comes_too_late_is_handed_back(
    client: Client, cluster: Cluster, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(cluster.conninfo, queue=queue)
    done: list[str] = []

    @worker.task("work")
    def work(task: Task) -> None:
        done.append(task.id)

    async def poll_and_stop(engine: _engine.Engine, connection: Any) -> Any:
        rows = await poll(engine, connection)
        engine.stop()
        return rows

    poll = _engine.Engine._poll
    monkeypatch.setattr(_engine.Engine, "_poll", poll_and_stop)
    id = client.start("call_task", {"queue": queue, "name": "work"})
    worker.run()
    assert done == []
    assert cluster.sql("SELECT status, attempt FROM wf.tasks WHERE id = %s", id) == [("waiting", 0)]


def test_a_second_signal_does_not_wait(client: Client, cluster: Cluster, queue: str, worker_process: Any) -> None:
    worker = worker_process("first", grace=60)
    id = lasting(client, queue, "work", 60)
    eventually(noted(cluster, id, "begun"))
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: "waiting up to 60" in worker.output)
    assert worker.process.poll() is None
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(timeout=20) == 0
    assert cluster.value("SELECT status FROM wf.tasks WHERE id = %s", id) == "waiting"


def test_stop_within_a_program(client: Client, cluster: Cluster, queue: str) -> None:
    worker = Worker(cluster.conninfo, queue=queue, grace=60)
    begun = threading.Event()
    ended: list[str] = []

    @worker.task("work")
    def work(task: Task) -> None:
        begun.set()
        while not task.cancelled:
            time.sleep(0.01)
        ended.append("told")
        task.heartbeat()

    thread = threading.Thread(target=worker.run)
    thread.start()
    id = client.start("call_task", {"queue": queue, "name": "work"})
    assert begun.wait(20)
    worker.stop(grace=0.1)
    thread.join(20)
    assert not thread.is_alive()
    assert ended == ["told"]
    assert cluster.value("SELECT error FROM wf.tasks WHERE id = %s", id) == f'worker "{worker.name}" was stopped'


def test_a_result_in_the_last_moment_counts(client: Client, cluster: Cluster, queue: str) -> None:
    worker = Worker(cluster.conninfo, queue=queue, grace=0)
    begun = threading.Event()

    @worker.task("work")
    def work(task: Task) -> str:
        begun.set()
        try:
            while True:
                task.heartbeat()
                time.sleep(0.01)
        except TaskCancelled:
            return "as far as I came"

    thread = threading.Thread(target=worker.run)
    thread.start()
    id = client.start("call_task", {"queue": queue, "name": "work"})
    assert begun.wait(20)
    worker.stop()
    thread.join(20)
    assert client.result(id, wait=10) == "as far as I came"


def test_cancelling_run_async_hands_back(client: Client, cluster: Cluster, queue: str) -> None:
    worker = Worker(cluster.conninfo, queue=queue, grace=60)

    async def main() -> str:
        begun = asyncio.Event()

        @worker.task("work")
        async def work(task: Task) -> None:
            begun.set()
            await asyncio.sleep(60)

        running = asyncio.create_task(worker.run_async())
        id = client.start("call_task", {"queue": queue, "name": "work"})
        await asyncio.wait_for(begun.wait(), 20)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return id

    id = asyncio.run(main())
    assert cluster.value("SELECT status FROM wf.tasks WHERE id = %s", id) == "waiting"
