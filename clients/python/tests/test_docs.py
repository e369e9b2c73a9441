"""The code of docs/python.md runs, in its order, and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import Cluster, running

from pg_workflow import Client, WorkflowFailed

PAGE = Path(__file__).resolve().parents[3] / "docs" / "python.md"

SETUP = """
CREATE TABLE bookings (account text, amount integer);
CREATE TABLE customers (address text);
CREATE FUNCTION call_task(name text, input jsonb, max_attempts integer DEFAULT 2) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_task(name, 'mail', input, retry => jsonb_build_object('max_attempts', max_attempts)); END $$;
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_page(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    parts = dict(part.split("=", 1) for part in cluster.conninfo.split())
    monkeypatch.setenv("PGHOST", parts["host"])
    monkeypatch.setenv("PGUSER", parts["user"])
    cluster.sql("DROP DATABASE IF EXISTS shop WITH (FORCE)")
    cluster.sql("CREATE DATABASE shop")
    with psycopg.connect("postgresql:///shop", autocommit=True) as connection:
        for query in ["CREATE EXTENSION pg_workflow", *blocks("sql"), SETUP]:
            connection.execute(query.encode())

    namespace: dict[str, Any] = {"__name__": "mailer"}
    first, *others = blocks("python")
    exec(first, namespace)
    with running(namespace["worker"]), Client("postgresql:///shop") as client:
        for block in others:
            exec(block, namespace)
        output = capsys.readouterr().out
        assert "to ann@example.com: Welcome!\n{'sent_to': 'ann@example.com'}\n" in output
        assert "{'sent_to': 'bob@example.com'}\n" in output
        assert 'workflow instance "welcome-nobody" does not exist' in output

        def done(name: str, **input: Any) -> Any:
            return client.result(client.start("call_task", {"name": name, "input": input}), wait=20)

        assert done("charge", amount=3)["charged"] == 3
        assert done("book", account="a", amount=5) == {"booked": 5}
        assert done("fetch", seconds=0.01) == "fetched"
        assert done("import", rows=[1, 2, 3]) == 3
        assert done("render", frames=3) == 3
        assert done("pay", amount=200) == "paid"
        with pytest.raises(WorkflowFailed) as raised:
            done("pay", amount=2000)
        assert (raised.value.sqlstate, raised.value.message) == ("P0402", "card declined")
        namespace["client"].close()
