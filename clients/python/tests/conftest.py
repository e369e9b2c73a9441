"""A server for the tests, and what they share."""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pg_workflow import Client, Worker

ONE_ATTEMPT = {"max_attempts": 1}
AT_ONCE = {"max_attempts": 5, "first_delay": "0.01 s", "backoff": 1}

CLUSTER_SH = Path(__file__).resolve().parents[2] / "cluster.sh"

# Workflows of one task, with as much of its options as the tests want.
SETUP = """
CREATE FUNCTION call_task(queue text, name text, input jsonb DEFAULT '{}', retry jsonb DEFAULT NULL,
                          timeout text DEFAULT NULL, heartbeat text DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_task(name, queue, input, retry => retry, timeout => timeout::interval, heartbeat => heartbeat::interval);
END $$;
CREATE FUNCTION caught_task(queue text, name text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    about text;
BEGIN
    RETURN wf_task(name, queue, retry => '{"max_attempts": 1}');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS about = PG_EXCEPTION_DETAIL;
    RETURN jsonb_build_object('sqlstate', SQLSTATE, 'message', SQLERRM, 'detail', about);
END $$;
CREATE FUNCTION wait_for_go() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
"""


class Cluster:
    def __init__(self, name: str) -> None:
        self._name = name
        self.conninfo = f"host={self._do('new')} port=5432 user=postgres dbname=postgres"
        self.sql(SETUP)

    def _do(self, command: str) -> str:
        done = subprocess.run([CLUSTER_SH, command, self._name], stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    def kill(self) -> None:
        """SIGKILL to every process of the server."""
        self._do("kill")

    def start(self) -> None:
        self._do("start")

    def drop(self) -> None:
        self._do("drop")

    def sql(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), arguments or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str, *arguments: Any) -> Any:
        return self.sql(query, *arguments)[0][0]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster("python")
    yield cluster
    cluster.drop()


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with Client(cluster.conninfo) as client:
        yield client


@pytest.fixture
def queue() -> str:
    """Of this test alone; good as a prefix of ids, too."""
    return f"q-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def worker(cluster: Cluster, queue: str) -> Worker:
    return Worker(cluster.conninfo, queue=queue, name=f"worker of {queue}", concurrency=4)


def call(client: Client, queue: str, name: str, **input: Any) -> str:
    """Starts a workflow of one task; arguments with _ are of the workflow, others of the task."""
    own = {key[1:]: input.pop(key) for key in list(input) if key.startswith("_")}
    return client.start("call_task", {"queue": queue, "name": name, "input": input, **own})


def eventually(condition: Callable[[], Any], timeout: float = 20) -> Any:
    """Waits until something is so, and returns it."""
    until = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < until, f"not so within {timeout} s"
        time.sleep(0.02)
    return found


@contextmanager
def running(*workers: Worker, timeout: float = 30) -> Iterator[None]:
    """Workers at work, each in a thread of its own, until the end of the block; they must end without an error."""
    errors: list[BaseException] = []

    def run(worker: Worker) -> None:
        try:
            worker.run()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[worker], daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        until = time.monotonic() + timeout
        for worker, thread in zip(workers, threads, strict=True):
            # One that is about to begin does not hear it yet.
            while thread.is_alive() and time.monotonic() < until:
                worker.stop()
                thread.join(0.2)
    assert not errors, errors
    assert not any(thread.is_alive() for thread in threads), "a worker does not stop"
