// A worker: claims tasks as long as it has room, gives them to handlers, and reports how that went.

import { hostname } from "node:os";
import type pg from "pg";

import type { ConnectionOptions } from "./connection.js";
import { isTransient, TaskFailed } from "./errors.js";
import { describe, type Logger, stderrLogger } from "./log.js";
import { Backoff, pause, within } from "./pause.js";
import { connectionConfig, newPool } from "./pool.js";
import { type Failure, Reporter } from "./reporter.js";
import { PollingSource, type Source, WaitingSource } from "./source.js";
import { type Duration, interval, toJson } from "./sql.js";
import { type Claimed, type Clock, Running, type Task } from "./task.js";

export interface WorkerOptions {
    /** Of the server; default: from the environment (`PGHOST`, `PGUSER` ...). */
    connectionString?: string;
    /** The same in parts, or more options of `pg`; what the string says goes first. */
    connection?: ConnectionOptions;
    /** Names of queues; those of the first are taken first. */
    queue: string | string[];
    /** Tasks at a time; default 10. */
    concurrency?: number;
    /** As shown in `wf.tasks`; default: host and process id. */
    name?: string;
    /** A worker that is not heard of for so long has lost the task; default 1 minute. */
    lease?: Duration;
    /**
     * `call` (default): `CALL wf_poll`, which waits in the server, on a connection of its own. `poll`: ask again and again,
     * for connections through a pool in transaction mode (PgBouncer).
     */
    wait?: "call" | "poll";
    /** With `wait: "poll"`: milliseconds between two questions; default 1000. */
    pauseMs?: number;
    /** What `stop` allows tasks to end in; default 30 seconds. */
    graceMs?: number;
    /** Default: lines on standard error, from `info` on. */
    log?: Logger;
}

export interface TaskOptions {
    /** Errors of these classes are failures for good: no other attempt is made. */
    noRetryOn?: ErrorClass | ErrorClass[];
}

export type ErrorClass = abstract new (...args: never[]) => unknown;

export interface StopOptions {
    /** Milliseconds in which tasks may end; what is left is handed back. Default: the worker's. */
    graceMs?: number;
}

// What an input is, only its handler knows.
export type Handler<Input = any> = (task: Task, input: Input) => unknown;

interface Registered {
    handler: Handler;
    noRetryOn: ErrorClass[];
}

/** After the time of grace, in milliseconds: for handlers that have been told to end, then for what is to be reported. */
const LAST_MOMENT = 1_000;
const LAST_WORDS = 5_000;
/** A statement that has no answer after so many milliseconds: the connection is broken. */
const ANSWER = 30_000;

export class Worker {
    /** As the options; may be changed until `run`. */
    concurrency: number;
    graceMs: number;
    log: Logger;
    readonly queues: string[];
    readonly name: string;
    readonly #options: WorkerOptions;
    readonly #handlers = new Map<string, Registered>();
    readonly #running = new Set<Running>();
    readonly #stopping = new AbortController();
    readonly #graceOver = new AbortController();
    #run: Promise<void> | undefined;
    /** Wakes who waits for room, or for the end of the last task. */
    #changed: () => void = () => {};

    constructor(options: WorkerOptions) {
        this.#options = options;
        this.queues = [options.queue].flat();
        this.concurrency = options.concurrency ?? 10;
        this.graceMs = options.graceMs ?? 30_000;
        this.name = options.name ?? `${hostname()} ${process.pid}`;
        this.log = options.log ?? stderrLogger("info");
        if (this.queues.length === 0) {
            throw new TypeError("a worker needs a queue");
        }
        this.#checkConcurrency();
    }

    #checkConcurrency(): void {
        if (!Number.isInteger(this.concurrency) || this.concurrency < 1 || this.concurrency > 10_000) {
            throw new RangeError("concurrency must be from 1 to 10000");
        }
    }

    /** Says who does the tasks of a name. The handler's result is the task's; it fails with what the handler throws. */
    task<Input = any>(name: string, handler: Handler<Input>, { noRetryOn = [] }: TaskOptions = {}): this {
        if (this.#handlers.has(name)) {
            throw new Error(`task "${name}" has a handler already`);
        }
        this.#handlers.set(name, { handler, noRetryOn: [noRetryOn].flat() });
        return this;
    }

    /** Works until it is stopped. Fails if the server refuses to give tasks; goes on when it was away for a while. */
    run(): Promise<void> {
        if (this.#run) {
            throw new Error("a worker runs once: make another one");
        }
        if (this.#handlers.size === 0) {
            throw new Error("no task has a handler");
        }
        this.#checkConcurrency();
        this.#run = this.#work();
        return this.#run;
    }

    /**
     * Claims no more tasks, lets those that are under way end within the time of grace, and hands back the rest, so that
     * another worker takes them at once. Called again it waits no longer. Returns when `run` has come to its end.
     */
    async stop({ graceMs = this.#stopping.signal.aborted ? 0 : this.graceMs }: StopOptions = {}): Promise<void> {
        this.#beginStop(graceMs);
        // How it came to its end is said to who called it.
        await this.#run?.catch(() => {});
    }

    #beginStop(graceMs: number): void {
        this.#stopping.abort();
        const timer = setTimeout(() => this.#graceOver.abort(), this.#run ? graceMs : 0);
        void this.#run?.catch(() => {}).then(() => clearTimeout(timer));
    }

    async #work(): Promise<void> {
        const { connectionString, connection, lease = "1 minute", wait = "call", pauseMs = 1_000 } = this.#options;
        const application = `pg_workflow worker ${this.name}`;
        const config = connectionConfig({ ...(connectionString === undefined ? {} : { connectionString }), ...connection }, application);
        const pool = newPool({ ...config, query_timeout: ANSWER, max: 3 });
        const options = { queues: this.queues, worker: this.name, lease: interval(lease) ?? "1 minute" };
        const source = wait === "call" ? new WaitingSource(config, pool, options) : new PollingSource(pool, options);
        const reporter = new Reporter(pool, this.log);
        this.log.info(`worker ${this.name}: up to ${this.concurrency} tasks at a time from ${this.queues.join(", ")}`);
        try {
            await this.#claim(source, wait === "poll" ? pauseMs : 0, pool, reporter);
        } finally {
            if (!this.#stopping.signal.aborted) {
                this.#beginStop(this.graceMs);
            }
            await this.#drain(reporter);
            await source.close();
            // A server that does not answer keeps nobody.
            await within(LAST_MOMENT, pool.end());
            this.log.info(`worker ${this.name}: stopped`);
        }
    }

    /** Claims and begins tasks until it is told to stop. */
    async #claim(source: Source, pauseMs: number, pool: pg.Pool, reporter: Reporter): Promise<void> {
        const stopping = this.#stopping.signal;
        const backoff = new Backoff();
        let away = false;
        stopping.addEventListener("abort", () => {
            source.interrupt();
            this.#changed();
        });
        while (!stopping.aborted) {
            const room = this.concurrency - this.#running.size;
            if (room <= 0) {
                await new Promise<void>((changed) => (this.#changed = changed));
                continue;
            }
            try {
                const { tasks, ...clock } = await source.poll(room);
                if (away) {
                    this.log.info(`worker ${this.name}: the server is back`);
                }
                away = false;
                backoff.reset();
                for (const claimed of tasks) {
                    this.#begin(claimed, clock, pool, reporter);
                }
                if (tasks.length === 0 && pauseMs > 0) {
                    await pause(pauseMs, stopping);
                }
            } catch (error) {
                if (stopping.aborted) {
                    break;
                }
                if (!isTransient(error)) {
                    throw error;
                }
                this.log.warn(`worker ${this.name}: cannot ask the server, will try again: ${describe(error)}`);
                away = true;
                await backoff.wait(stopping);
            }
        }
    }

    #begin(claimed: Claimed, clock: Clock, pool: pg.Pool, reporter: Reporter): void {
        const task = new Running(claimed, clock, pool, this.log);
        this.#running.add(task);
        void this.#perform(task, claimed.input, reporter).then(() => {
            task.end();
            this.#running.delete(task);
            this.#changed();
        });
    }

    /** Has a task done, and the outcome reported. Never fails. */
    async #perform(task: Running, input: unknown, reporter: Reporter): Promise<void> {
        const registered = this.#handlers.get(task.name);
        if (!registered) {
            task.finished = true;
            const message = `worker "${this.name}" has no task "${task.name}"`;
            this.log.error(`${task.label}: ${message}`);
            const detail = `It has ${[...this.#handlers.keys()].sort().join(", ")}.`;
            return reporter.fail(task, { message, retryable: true, detail });
        }
        let result: unknown;
        let thrown: { error: unknown } | undefined;
        try {
            // Not as a method of ours.
            const { handler } = registered;
            result = await handler(task, input);
        } catch (error) {
            thrown = { error };
        }
        task.finished = true;
        if (!thrown && task.completed) {
            return undefined;
        }
        if (task.cancelled && task.cancelled !== "stopped") {
            this.log.info(`${task.label}: given up, ${describe(task.signal.reason)}`);
            return undefined;
        }
        if (!thrown) {
            return this.#complete(task, result, reporter);
        }
        if (task.cancelled && !(thrown.error instanceof TaskFailed)) {
            return this.#handBack(task, reporter);
        }
        const { error } = thrown;
        // One that says itself that it failed has expected it.
        const text = error instanceof Error && !(error instanceof TaskFailed) ? error.stack : describe(error);
        this.log.warn(`${task.label}: failed: ${text}`);
        return reporter.fail(task, failure(error, registered.noRetryOn));
    }

    #complete(task: Running, result: unknown, reporter: Reporter): Promise<void> {
        let json: string | null;
        try {
            json = toJson(result);
        } catch (error) {
            // The work is done: another attempt would do it once more, for the same result.
            const message = `result of task "${task.name}" is not JSON: ${describe(error)}`;
            this.log.error(`${task.label}: ${message}`);
            return reporter.fail(task, { message, retryable: false });
        }
        return reporter.complete(task, json);
    }

    #handBack(task: Running, reporter: Reporter): Promise<void> {
        this.log.warn(`${task.label}: handed back`);
        return reporter.fail(task, { message: `worker "${this.name}" was stopped`, retryable: true, counts: false });
    }

    /** Waits for the tasks that are under way as long as it may, and hands back the rest. */
    async #drain(reporter: Reporter): Promise<void> {
        if (this.#running.size > 0) {
            this.log.info(`worker ${this.name}: waits for ${this.#running.size} tasks`);
        }
        await this.#allDone(this.#graceOver.signal);
        this.#running.forEach((task) => task.cancel("stopped"));
        const moment = new AbortController();
        await within(LAST_MOMENT, this.#allDone(moment.signal));
        moment.abort();
        for (const task of this.#running) {
            if (!task.finished) {
                void this.#handBack(task, reporter);
            }
        }
        await within(LAST_WORDS, reporter.idle());
        reporter.abandon();
    }

    /** Waits until no task is under way, or the signal is aborted. */
    async #allDone(until: AbortSignal): Promise<void> {
        until.addEventListener("abort", () => this.#changed());
        while (this.#running.size > 0 && !until.aborted) {
            await new Promise<void>((changed) => (this.#changed = changed));
        }
    }
}

/** What the server is told of an error that a handler has thrown. */
function failure(error: unknown, noRetryOn: ErrorClass[]): Failure {
    const retryable = !noRetryOn.some((type) => error instanceof type);
    if (error instanceof TaskFailed) {
        const { message, delay, sqlstate, detail } = error;
        return { message, retryable: retryable && error.retryable, delay, sqlstate, detail };
    }
    if (!(error instanceof Error)) {
        return { message: describe(error), retryable };
    }
    const name = error.name === "Error" ? (error.constructor?.name ?? "Error") : error.name;
    const frame = /^ +(at .*)$/m.exec(error.stack ?? "")?.[1];
    return { message: `${name}: ${describe(error)}`, retryable, detail: frame && `Raised ${frame}.` };
}
