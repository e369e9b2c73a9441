"""Client and task worker for pg_workflow, durable workflows inside Postgres."""

from ._aclient import AsyncClient
from ._calls import StreamItem, WorkflowInfo
from ._client import Client
from ._task import Task
from ._worker import Worker
from .errors import (
    AlreadyExists,
    Duration,
    InvalidArgument,
    MapFailed,
    NotEnded,
    NotFound,
    PermissionDenied,
    QueueFull,
    ReplayDiverged,
    StepTimeout,
    TaskCancelled,
    TaskFailed,
    TaskLost,
    TooLarge,
    UnknownWorkflow,
    VersionLost,
    WorkflowCancelled,
    WorkflowError,
    WorkflowFailed,
    WorkflowTimeout,
    WrongState,
)

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "Client",
    "Duration",
    "InvalidArgument",
    "MapFailed",
    "NotEnded",
    "NotFound",
    "PermissionDenied",
    "QueueFull",
    "ReplayDiverged",
    "StepTimeout",
    "StreamItem",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TaskLost",
    "TooLarge",
    "UnknownWorkflow",
    "VersionLost",
    "Worker",
    "WorkflowCancelled",
    "WorkflowError",
    "WorkflowFailed",
    "WorkflowInfo",
    "WorkflowTimeout",
    "WrongState",
]
