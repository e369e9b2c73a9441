"""Clients: each test for the sync and for the asyncio one."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from conftest import Cluster, eventually
from psycopg.rows import dict_row

import pg_workflow
from pg_workflow import AsyncClient, Client

SETUP = """
CREATE FUNCTION greet(name text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN to_jsonb('hello ' || name); END $$;
CREATE FUNCTION fails() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RAISE 'no money' USING ERRCODE = 'P0402', DETAIL = 'none at all', HINT = 'earn some'; END $$;
CREATE FUNCTION fails_as_if_unknown() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RAISE 'no such thing' USING ERRCODE = '42704'; END $$;
CREATE FUNCTION writes() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN UPDATE divisor SET units = 2; RETURN 'null'; END $$;
CREATE FUNCTION deadlocks() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'dead' USING ERRCODE = '40P01'; END $$;
CREATE FUNCTION fails_first() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_step('divide', 'SELECT 1 / units FROM divisor', retry => '{"max_attempts": 1}'); END $$;
CREATE TABLE divisor (units integer);
INSERT INTO divisor VALUES (0);
CREATE FUNCTION shows() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_set('progress', '1');
    PERFORM wf_emit('lines', '"one"');
    PERFORM wf_emit('lines', '"two"');
    PERFORM wf_wait_signal('go');
    PERFORM wf_set('progress', '2');
    PERFORM wf_wait_signal('end');
    RETURN 'null';
END $$;
CREATE FUNCTION sleeps(span text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN PERFORM wf_sleep(span::interval); RETURN '"slept"'; END $$;
CREATE FUNCTION is_slow() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_step('slow', 'SELECT pg_sleep(60)', timeout => '0.2 s'); END $$;
CREATE FUNCTION diverges() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN PERFORM wf_step('step ' || clock_timestamp(), 'SELECT 1'); RETURN 'null'; END $$;
CREATE FUNCTION maps() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_map('each', 'SELECT 1 / 0', items => '[1]', retry => '{"max_attempts": 1}'); END $$;
"""


class Blocking:
    """An AsyncClient whose methods return when they are done: as Client."""

    def __init__(self, conninfo: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(conninfo)

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **keywords: self._loop.run_until_complete(method(*args, **keywords))


@pytest.fixture(scope="module", autouse=True)
def _workflows(cluster: Cluster) -> None:
    cluster.sql(SETUP)


@pytest.fixture(params=["sync", "asyncio"])
def client(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Any]:
    client: Any = Client(cluster.conninfo) if request.param == "sync" else Blocking(cluster.conninfo)
    yield client
    client.close()


def test_start_and_result(client: Any) -> None:
    id = client.start("greet", {"name": "you"})
    assert client.result(id, wait=10) == "hello you"
    assert client.status(id) == "completed"


def test_start_twice_is_once(client: Any, queue: str) -> None:
    assert client.start("greet", {"name": "you"}, id=queue) == queue
    assert client.start("greet", {"name": "you"}, id=queue) == queue
    client.result(queue, wait=10)
    assert len(client.list(id_prefix=queue)) == 1
    with pytest.raises(pg_workflow.AlreadyExists) as raised:
        client.start("greet", {"name": "you"}, id=queue, on_conflict="fail")
    assert raised.value.sqlstate == "42710"
    assert raised.value.hint
    assert isinstance(raised.value.__cause__, psycopg.Error)
    client.start("greet", {"name": "me"}, id=queue, on_conflict="start_new")
    assert client.result(queue, wait=10) == "hello me"
    assert len(client.list(id_prefix=queue)) == 2


def test_start_options(client: Any, cluster: Cluster, queue: str) -> None:
    later = datetime(2100, 1, 1, tzinfo=timezone.utc)
    client.start(
        "greet", {"name": "a"}, id=f"{queue}-a", start_at=later, priority=7, timeout="1 hour", start_timeout=60
    )
    client.start("greet", {"name": "b"}, id=f"{queue}-b", delay=timedelta(days=1))
    [(start, priority, deadline, start_by)] = cluster.sql(
        "SELECT waiting_for, priority, deadline, start_by FROM wf.workflows WHERE id = %s", f"{queue}-a"
    )
    assert start.startswith("start at 2100-01-01")
    assert priority == 7
    assert deadline == later + timedelta(hours=1)
    assert start_by == later + timedelta(seconds=60)
    assert client.status(f"{queue}-b") == "pending"


def test_start_in_a_queue(client: Any, cluster: Cluster, queue: str) -> None:
    cluster.sql("SELECT wf_queue(%s, paused => true, max_backlog => 2)", queue)
    first = client.start("greet", {"name": "a"}, id=f"{queue}-1", queue=queue, key="k", dedup="same")
    assert client.start("greet", {"name": "a"}, id=f"{queue}-2", queue=queue, dedup="same") == first
    assert client.list(id_prefix=queue)[0].waiting_for == f'queue "{queue}"'
    place = "SELECT key FROM wf_internal.task_queue JOIN wf_internal.queues USING (queue_id) WHERE name = %s"
    assert cluster.value(place, queue) == "k"
    client.start("greet", {"name": "b"}, id=f"{queue}-3", queue=queue)
    with pytest.raises(pg_workflow.QueueFull):
        client.start("greet", {"name": "c"}, id=f"{queue}-4", queue=queue)
    cluster.sql("SELECT wf_queue(%s, paused => false)", queue)
    assert client.result(first, wait=10) == "hello a"


def test_signal_and_cancel(client: Any) -> None:
    id = client.start("wait_for_go")
    assert client.signal(id, "go", {"fast": True}, key="k") is True
    assert client.signal(client.start("wait_for_go"), "other", key="k") is True
    assert client.result(id, wait=10) == {"fast": True}
    id = client.start("wait_for_go")
    assert client.signal(id, "other", key="k") is True
    assert client.signal(id, "other", key="k") is False
    assert client.cancel(id, "not needed") is True
    with pytest.raises(pg_workflow.WorkflowCancelled, match="was cancelled") as raised:
        client.result(id, wait=10)
    assert raised.value.detail == "Reason: not needed."
    assert client.cancel(id) is False


def test_result_waits(client: Any, queue: str) -> None:
    client.start("wait_for_go", id=queue)
    begun = time.monotonic()
    with pytest.raises(pg_workflow.NotEnded):
        client.result(queue)
    with pytest.raises(pg_workflow.NotEnded):
        client.result(queue, wait=timedelta(seconds=0.5))
    assert 0.5 <= time.monotonic() - begun < 5
    client.signal(queue, "go", None)
    assert client.result(queue, wait=10) is None


def test_long_wait_is_many_short_ones(client: Any, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pg_workflow._connections._SLICE", timedelta(seconds=0.2))
    client.start("sleeps", {"span": "1 s"}, id=queue)
    assert client.result(queue, wait=10) == "slept"
    client.start("wait_for_go", id=f"{queue}-2")
    with pytest.raises(pg_workflow.NotEnded):
        client.result(f"{queue}-2", wait=0.5)


def test_errors_of_calls(client: Any, cluster: Cluster) -> None:
    with pytest.raises(pg_workflow.UnknownWorkflow):
        client.start("no_such_workflow")
    with pytest.raises(pg_workflow.InvalidArgument) as raised:
        client.start("greet", {"nam": "you"})
    assert raised.value.sqlstate == "22023"
    for call in (client.status, client.result, client.cancel, client.get):
        with pytest.raises(pg_workflow.NotFound):
            call("no such id")
    with pytest.raises(pg_workflow.WrongState):
        client.signal(finished(client), "go")
    with pytest.raises(pg_workflow.TooLarge):
        client.start("greet", {"name": "x" * (17 << 20)})
    # Not ours: as it is.
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        client.list(before="no uuid")


def finished(client: Any) -> str:
    id: str = client.start("greet", {"name": "you"})
    client.result(id, wait=10)
    return id


def test_permission(client: Any, cluster: Cluster, queue: str) -> None:
    cluster.sql("DROP ROLE IF EXISTS stranger")
    cluster.sql("CREATE ROLE stranger LOGIN")
    client.start("wait_for_go", id=queue)
    with Client(cluster.conninfo.replace("user=postgres", "user=stranger")) as stranger:
        # It is not told that there is one.
        with pytest.raises(pg_workflow.NotFound):
            stranger.cancel(queue)
        with pytest.raises(pg_workflow.NotFound):
            stranger.result(queue)
        cluster.sql("SELECT wf_grant('stranger', 'view')")
        with pytest.raises(pg_workflow.PermissionDenied):
            stranger.cancel(queue)
        cluster.sql("SELECT wf_revoke('stranger', 'view')")


def test_errors_of_workflows(client: Any) -> None:
    with pytest.raises(pg_workflow.WorkflowFailed) as raised:
        client.result(client.start("fails"), wait=10)
    assert raised.value.sqlstate == "P0402"
    assert raised.value.message == "no money"
    assert raised.value.detail == "none at all"
    assert str(raised.value) == "no money\nDETAIL: none at all\nHINT: earn some"
    # What a workflow fails with is not taken for what is said of the id.
    with pytest.raises(pg_workflow.WorkflowFailed) as raised:
        client.result(client.start("fails_as_if_unknown"), wait=10)
    assert raised.value.sqlstate == "42704"
    assert not isinstance(raised.value, pg_workflow.NotFound)
    # Nor for what a connection or a server suffers from.
    for workflow, sqlstate in (("writes", "25006"), ("deadlocks", "40P01")):
        with pytest.raises(pg_workflow.WorkflowFailed) as raised:
            client.result(client.start(workflow), wait=10)
        assert raised.value.sqlstate == sqlstate


def test_what_interrupts_a_wait_is_no_failure(client: Any, cluster: Cluster, queue: str) -> None:
    client.start("wait_for_go", id=queue)
    waiting = "FROM pg_stat_activity WHERE query ~ '^SELECT wf_result' AND state = 'active'"
    timer = threading.Timer(0.5, cluster.sql, [f"SELECT pg_cancel_backend(pid) {waiting}"])
    timer.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        client.result(queue, wait=20)
    timer.join()


@pytest.mark.parametrize(
    ("workflow", "timeout", "error"),
    [
        ("diverges", None, pg_workflow.ReplayDiverged),
        ("wait_for_go", 0.2, pg_workflow.WorkflowTimeout),
        ("is_slow", None, pg_workflow.StepTimeout),
        ("maps", None, pg_workflow.MapFailed),
    ],
)
def test_errors_with_classes_of_their_own(
    client: Any, workflow: str, timeout: float | None, error: type[pg_workflow.WorkflowFailed]
) -> None:
    with pytest.raises(error):
        client.result(client.start(workflow, timeout=timeout), wait=10)


def test_list(client: Any, queue: str) -> None:
    ids = [client.start("greet", {"name": "you"}, id=f"{queue}-{number}") for number in range(3)]
    for id in ids:
        client.result(id, wait=10)
    waiting = client.start("wait_for_go", id=f"{queue}-waiting")
    eventually(lambda: client.status(waiting) == "waiting")

    assert [run.id for run in client.list(id_prefix=queue)] == [waiting, *reversed(ids)]
    assert [run.id for run in client.list("greet", id_prefix=queue)] == ids[::-1]
    assert [run.id for run in client.list(id_prefix=queue, status="waiting")] == [waiting]
    assert len(client.list(id_prefix=queue, status=["waiting", "completed"])) == 4
    page = client.list(id_prefix=queue, limit=2)
    assert [run.id for run in page] == [waiting, ids[2]]
    assert [run.id for run in client.list(id_prefix=queue, before=page[-1].run_id)] == [ids[1], ids[0]]

    [run] = client.list(id_prefix=ids[0])
    assert (run.workflow, run.status, run.input, run.result) == ("greet", "completed", {"name": "you"}, "hello you")
    assert run.finished_at > run.created_at
    assert (run.run, run.owner, run.error, run.parent) == (1, "postgres", None, None)
    assert client.list(id_prefix=waiting)[0].waiting_for == 'signal "go"'


def test_values_and_streams(client: Any, cluster: Cluster, queue: str) -> None:
    client.start("shows", id=queue)
    assert client.wait_value(queue, "progress", 10) == 1
    assert client.get(queue, "progress") == 1
    assert client.get(queue, "other") is None
    assert client.get(queue)["id"] == queue
    assert client.wait_value(queue, "progress", 0.1, known=1) is None
    first, second = eventually(lambda: len(client.read_stream(queue, "lines", wait=10)) == 2) and client.read_stream(
        queue, "lines"
    )
    assert (first.value, second.value) == ("one", "two")
    assert isinstance(first.at, datetime)
    assert client.read_stream(queue, "lines", after=first.seq) == [second]
    client.signal(queue, "go")
    assert client.wait_value(queue, "progress", "10 s", known=1) == 2
    client.signal(queue, "end")


def test_pause_and_resume(client: Any, queue: str) -> None:
    client.start("wait_for_go", id=queue)
    assert client.pause(queue, "lunch") is True
    assert client.pause(queue) is False
    assert client.status(queue) == "paused"
    client.signal(queue, "go", 1)
    assert client.resume(queue) is True
    assert client.resume(queue) is False
    assert client.result(queue, wait=10) == 1


def test_retry(client: Any, cluster: Cluster, queue: str) -> None:
    cluster.sql("UPDATE divisor SET units = 0")
    client.start("fails_first", id=queue)
    with pytest.raises(pg_workflow.WorkflowFailed, match="division by zero"):
        client.result(queue, wait=10)
    cluster.sql("UPDATE divisor SET units = 1")
    assert client.retry(queue, "it is one now") is None
    assert client.result(queue, wait=10) == [1]
    assert cluster.value("SELECT reason FROM wf.actions WHERE id = %s AND action = 'retry'", queue) == "it is one now"


def test_in_a_transaction_of_the_caller(cluster: Cluster, queue: str) -> None:
    with Client(cluster.conninfo) as client, psycopg.connect(cluster.conninfo, row_factory=dict_row) as connection:
        client.start("greet", {"name": "you"}, id=queue, connection=connection)
        assert client.list(id_prefix=queue) == []
        connection.rollback()
        assert client.list(id_prefix=queue) == []
        with connection.transaction():
            client.start("wait_for_go", id=queue, connection=connection)
            client.signal(queue, "go", 1, connection=connection)
        assert client.result(queue, wait=10, connection=connection) == 1
        # An error of ours leaves it to the caller, as any other does.
        with pytest.raises(pg_workflow.NotFound), connection.transaction():
            client.signal("nobody", "go", connection=connection)
        assert client.status(queue, connection=connection) == "completed"


def test_on_a_connection_in_autocommit(cluster: Cluster, queue: str) -> None:
    with Client(cluster.conninfo) as client, psycopg.connect(cluster.conninfo, autocommit=True) as connection:
        client.start("greet", {"name": "you"}, id=queue, connection=connection)
        assert client.result(queue, wait=10) == "hello you"


def test_in_a_transaction_of_the_caller_with_asyncio(cluster: Cluster, queue: str) -> None:
    async def scenario() -> None:
        connection = await psycopg.AsyncConnection.connect(cluster.conninfo, row_factory=dict_row)
        async with AsyncClient(cluster.conninfo) as client, connection:
            await client.start("greet", {"name": "you"}, id=queue, connection=connection)
            await connection.rollback()
            assert await client.list(id_prefix=queue) == []
            await client.start("greet", {"name": "you"}, id=queue, connection=connection)
            await connection.commit()
            assert await client.result(queue, wait=10) == "hello you"

    asyncio.run(scenario())


def test_threads_share_a_client(cluster: Cluster, queue: str) -> None:
    with Client(cluster.conninfo) as client:
        client.start("wait_for_go", id=queue)
        results: list[Any] = []
        waiters = [threading.Thread(target=lambda: results.append(client.result(queue, wait=20))) for _ in range(4)]
        for waiter in waiters:
            waiter.start()
        # Those who wait do not keep others from working.
        client.signal(queue, "go", "there")
        for waiter in waiters:
            waiter.join()
        assert results == ["there"] * 4


def test_cancelled_call_leaves_the_client_usable(cluster: Cluster, queue: str) -> None:
    async def scenario() -> None:
        async with AsyncClient(cluster.conninfo) as client:
            await client.start("wait_for_go", id=queue)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.result(queue, wait=60), 0.3)
            assert await client.status(queue) in ("pending", "running", "waiting")

    asyncio.run(scenario())


def test_lost_connections_are_replaced(client: Any, cluster: Cluster, queue: str) -> None:
    client.start("wait_for_go", id=queue)
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_workflow client'")
    mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_workflow client'"
    eventually(lambda: cluster.value(mine) == 0)
    assert client.signal(queue, "go") is True


def test_both_clients_are_of_one_shape() -> None:
    def shape(kind: type) -> dict[str, Any]:
        def parameters(method: Any) -> list[Any]:
            found = inspect.signature(method).parameters.values()
            return [(each.name, each.kind, each.default) for each in found]

        return {
            name: parameters(method)
            for name, method in vars(kind).items()
            if inspect.isfunction(method) and not name.startswith("_")
        }

    assert shape(Client) == shape(AsyncClient)
