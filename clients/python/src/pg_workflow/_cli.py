"""pg-workflow worker module:worker"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from ._worker import Worker


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pg-workflow", description="Workers for pg_workflow.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("worker", help="run a worker until SIGTERM or SIGINT")
    command.add_argument("target", metavar="module:worker", help="where the Worker is; only module: its name is worker")
    command.add_argument("--concurrency", type=int, metavar="N", help="tasks at a time, in place of the worker's own")
    command.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    options = parser.parse_args(arguments)

    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    # As python -m does: modules of the current directory.
    sys.path.insert(0, os.getcwd())
    module, _, name = options.target.partition(":")
    try:
        worker = getattr(importlib.import_module(module), name or "worker", None)
    except ModuleNotFoundError as error:
        # One that it imports in its turn is another matter.
        if error.name != module:
            raise
        parser.error(str(error))
    if not isinstance(worker, Worker):
        parser.error(f"{options.target} is not a Worker")
    if options.concurrency is not None:
        worker.concurrency = options.concurrency
    try:
        worker.run()
    except ValueError as error:
        parser.error(str(error))
    return 0
