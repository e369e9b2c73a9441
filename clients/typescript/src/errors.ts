// Errors of the server as classes, by SQLSTATE.

import type { Duration } from "./sql.js";

export interface ErrorFields {
    sqlstate?: string;
    detail?: string | undefined;
    hint?: string | undefined;
    cause?: unknown;
}

/** An error that the server has raised. */
export class WorkflowError extends Error {
    readonly sqlstate: string;
    readonly detail: string | undefined;
    readonly hint: string | undefined;

    constructor(message: string, { sqlstate = "XX000", detail, hint, cause }: ErrorFields = {}) {
        super(message, cause === undefined ? undefined : { cause });
        this.name = new.target.name;
        this.sqlstate = sqlstate;
        this.detail = detail;
        this.hint = hint;
    }
}

/** There is no instance of this id, or no such task (42704). */
export class NotFound extends WorkflowError {}
/** There is no such workflow (42883). */
export class UnknownWorkflow extends WorkflowError {}
/** The id is in use (42710). */
export class AlreadyExists extends WorkflowError {}
/** An argument is wrong, or the input does not fit (22023). */
export class InvalidArgument extends WorkflowError {}
/** It is not the caller's (42501). */
export class PermissionDenied extends WorkflowError {}
/** The instance is not in a state for that: it has ended, or it has not (55000). */
export class WrongState extends WorkflowError {}
/** `result` has waited long enough (55000). */
export class NotEnded extends WrongState {}
/** Input, result or signal is too large (54000). */
export class TooLarge extends WorkflowError {}

/** The workflow has failed, with an error of its own or one of those below. */
export class WorkflowFailed extends WorkflowError {}
/** A replay took another path than its history (WF001). */
export class ReplayDiverged extends WorkflowFailed {}
/** The instance was cancelled (WF002). */
export class WorkflowCancelled extends WorkflowFailed {}
/** The run did not start or end in time (WF003). */
export class WorkflowTimeout extends WorkflowFailed {}
/** A step or task did not end in time (WF004). */
export class StepTimeout extends WorkflowFailed {}
/** The version of the code cannot be restored (WF005). */
export class VersionLost extends WorkflowFailed {}
/** Too many items of a map have failed (WF006). */
export class MapFailed extends WorkflowFailed {}
/** A task was lost by its worker (WF007). */
export class TaskLost extends WorkflowFailed {}

/** A queue was full (WF009): of `start`, it is the queue of the start; of `result`, of a task or step. */
export class QueueFull extends WorkflowFailed {}

export interface TaskFailedOptions {
    /** May the attempt be made again? Default: true, and the task's retry policy decides. */
    retryable?: boolean;
    /** Until the next attempt, in place of the policy's wait. */
    delay?: Duration;
    /** By which the workflow may know the error. Default: WF008. */
    sqlstate?: string;
    detail?: string | undefined;
    cause?: unknown;
}

/** Thrown by a handler: the attempt has failed. Thrown by `result`: the workflow has failed for that (WF008). */
export class TaskFailed extends WorkflowFailed {
    readonly retryable: boolean;
    readonly delay: Duration | undefined;

    constructor(message: string, { retryable = true, delay, sqlstate = "WF008", ...rest }: TaskFailedOptions = {}) {
        super(message, { sqlstate, ...rest });
        this.retryable = retryable;
        this.delay = delay;
    }
}

/** Why a task is to be given up. */
export type CancelReason = "cancelled" | "lost" | "deadline" | "stopped";

const REASONS: Record<CancelReason, string> = {
    cancelled: "its call was cancelled, or its instance has ended",
    lost: "it is not this worker's any more",
    deadline: "its deadline has passed",
    stopped: "the worker stops",
};

/** The reason of a task's signal: nobody wants the result of this attempt any more. */
export class TaskCancelled extends Error {
    readonly reason: CancelReason;

    constructor(name: string, reason: CancelReason) {
        super(`task "${name}" is to be given up: ${REASONS[reason]}`);
        this.name = "TaskCancelled";
        this.reason = reason;
    }
}

type ErrorClass = new (message: string, fields?: ErrorFields) => WorkflowError;

// What a run fails with.
const OF_RUNS: Record<string, ErrorClass> = {
    WF001: ReplayDiverged,
    WF002: WorkflowCancelled,
    WF003: WorkflowTimeout,
    WF004: StepTimeout,
    WF005: VersionLost,
    WF006: MapFailed,
    WF007: TaskLost,
    WF008: TaskFailed,
    WF009: QueueFull,
};

// What a call is refused with.
const OF_CALLS: Record<string, ErrorClass> = {
    "22004": InvalidArgument,
    "22023": InvalidArgument,
    "42501": PermissionDenied,
    "42704": NotFound,
    "42710": AlreadyExists,
    "42883": UnknownWorkflow,
    "54000": TooLarge,
    "55000": WrongState,
    ...OF_RUNS,
};

interface DatabaseError extends Error {
    code: string;
    detail?: string;
    hint?: string;
}

// Of the server: it goes, comes, is full or read-only; deadlocks and the like; a statement was interrupted.
const TRANSIENT = /^(08...|40...|53...|57...|58...|55P03|25006)$/;
// Of the connection, as pg words what has no code.
const LOST = /connection terminated|connection ended|not queryable|time-?out/i;

/** Has the server said this, and not the connection to it? */
export function isDatabaseError(error: unknown): error is DatabaseError {
    return error instanceof Error && /^[0-9A-Z]{5}$/.test(String((error as { code?: unknown }).code)) && "severity" in error;
}

function as(type: ErrorClass, error: DatabaseError): WorkflowError {
    return new type(error.message, { sqlstate: error.code, detail: error.detail, hint: error.hint, cause: error });
}

/** An error of a call as one of our classes; what is none of ours stays as it is. */
export function fromCall(error: unknown): unknown {
    const type = isDatabaseError(error) ? OF_CALLS[error.code] : undefined;
    return type ? as(type, error as DatabaseError) : error;
}

/** An error of `wf_result`: the run's own, unless it says of this id that it is not there, not yours or not at its end. */
export function fromResult(error: unknown, id: string): unknown {
    // 57: the statement was interrupted, or the server goes.
    if (!isDatabaseError(error) || /^(08|57)/.test(error.code)) {
        return error;
    }
    // A run may have failed with the same SQLSTATE; hence the message.
    const quoted = `workflow instance "${id}"`;
    switch (error.message) {
        case `${quoted} does not exist`:
            return as(NotFound, error);
        case `${quoted} has not ended`:
            return as(NotEnded, error);
        case `permission denied for ${quoted}`:
            return as(PermissionDenied, error);
        default:
            return as(OF_RUNS[error.code] ?? WorkflowFailed, error);
    }
}

/** May the same work in a moment, perhaps on another connection? */
export function isTransient(error: unknown): boolean {
    if (isDatabaseError(error)) {
        return TRANSIENT.test(error.code);
    }
    if (!(error instanceof Error)) {
        return false;
    }
    // Of the operating system, such as ECONNREFUSED.
    const code = (error as { code?: unknown }).code;
    return (typeof code === "string" && /^E[A-Z]/.test(code) && !code.startsWith("ERR_")) || LOST.test(error.message);
}
