export {
    type CallOptions,
    Client,
    type ListOptions,
    type ReadStreamOptions,
    type ReasonOptions,
    type ResultOptions,
    type SignalOptions,
    type StartOptions,
    type Status,
    type StreamItem,
    type WaitValueOptions,
    type WorkflowInfo,
} from "./client.js";
export type { ConnectionOptions } from "./connection.js";
export * from "./errors.js";
export { type Logger, type LogLevel, stderrLogger } from "./log.js";
export type { Duration, Json, Queryable } from "./sql.js";
export type { Task } from "./task.js";
export { type Handler, type StopOptions, type TaskOptions, Worker, type WorkerOptions } from "./worker.js";
