"""Through PgBouncer in transaction mode, where it is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import Cluster, eventually, running

from pg_workflow import Client, Task, Worker

PGBOUNCER = os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

pytestmark = pytest.mark.skipif(not PGBOUNCER, reason="there is no pgbouncer")

# Fewer connections than a worker has, so that they do change.
CONFIG = """
[databases]
postgres = host={host} port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""


@pytest.fixture
def pooled(cluster: Cluster) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = cluster.conninfo.split()[0].removeprefix("host=")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "pgbouncer.ini")
        config.write_text(CONFIG.format(host=host, port=port))
        # It runs as the owner of the server's socket, and never as root.
        os.chmod(folder, 0o755)
        arguments = ["-u", Path(host).owner()] if os.geteuid() == 0 else []
        process = subprocess.Popen([str(PGBOUNCER), "-q", *arguments, str(config)])
        conninfo = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        try:
            eventually(lambda: answers(conninfo))
            yield conninfo
        finally:
            process.terminate()
            process.wait()


def answers(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError:
        return False
    return True


def test_worker_and_client(pooled: str, queue: str) -> None:
    workers = [Worker(pooled, queue=queue, wait="poll", poll_interval=0.05, lease=1, concurrency=2) for _ in range(3)]
    for worker in workers:

        @worker.task("count")
        def count(task: Task, number: int) -> int:
            task.heartbeat(number)
            if number % 5 == 0 and task.attempt == 1:
                raise ValueError("once more")
            return number

    with Client(pooled) as client, running(*workers):
        input = {"queue": queue, "name": "count", "retry": {"first_delay": "0.01 s"}}
        ids = [client.start("call_task", {**input, "input": {"number": number}}) for number in range(40)]
        for number, id in enumerate(ids):
            assert client.result(id, wait=20) == number
