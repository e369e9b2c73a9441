"""The command line. That it works, and ends by signals, is tested in test_stop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster

from pg_workflow import Client, _cli

MODULE = """
import os
from pg_workflow import Worker

worker = Worker(queue=os.environ["QUEUE"], concurrency=1)
other = Worker(queue=os.environ["QUEUE"] + "-other", concurrency=1)

@worker.task("stop")
def stop(task):
    worker.stop()
    return worker.concurrency

@other.task("stop")
def stop_other(task):
    other.stop()
    return "other"
"""


def run(arguments: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    # As pip has installed it.
    command = str(Path(sys.executable).parent / "pg-workflow")
    return subprocess.run(
        [command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def environment(cluster: Cluster, queue: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "mailer.py").write_text(MODULE)
    parts = dict(part.split("=", 1) for part in cluster.conninfo.split())
    return {"QUEUE": queue, "PGHOST": parts["host"], "PGUSER": parts["user"], "PGDATABASE": parts["dbname"]}


@pytest.mark.parametrize(
    ("arguments", "suffix", "result"),
    [
        (["mailer"], "", 1),
        (["mailer:worker", "--concurrency", "7"], "", 7),
        (["mailer:other"], "-other", "other"),
    ],
)
def test_runs_a_worker_until_it_stops(
    client: Client, queue: str, tmp_path: Path, environment: dict[str, str], arguments: Any, suffix: str, result: Any
) -> None:
    id = client.start("call_task", {"queue": queue + suffix, "name": "stop"})
    done = run(["worker", *arguments], tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert client.result(id, wait=10) == result
    assert "INFO pg_workflow: worker" in done.stderr


def test_log_level(client: Client, queue: str, tmp_path: Path, environment: dict[str, str]) -> None:
    client.start("call_task", {"queue": queue, "name": "stop"})
    done = run(["worker", "mailer", "--log-level", "error"], tmp_path, environment)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: command"),
        (["worker"], "required: module:worker"),
        (["worker", "mailer:nothing"], "mailer:nothing is not a Worker"),
        (["worker", "mailer:os"], "mailer:os is not a Worker"),
        (["worker", "nowhere"], "No module named 'nowhere'"),
        (["worker", "mailer", "--concurrency", "0"], "concurrency must be from 1 to 10000"),
        (["worker", "mailer", "--log-level", "loud"], "invalid choice: 'loud'"),
    ],
)
def test_misuse(
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mailer", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUEUE", environment["QUEUE"])
    with pytest.raises(SystemExit) as raised:
        _cli.main(arguments)
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def test_is_typed_and_has_a_version() -> None:
    from importlib.metadata import version
    from importlib.resources import files

    assert version("pg-workflow") == "0.1.0"
    assert files("pg_workflow").joinpath("py.typed").is_file()
