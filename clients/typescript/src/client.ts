// What clients do: start, signal, cancel, look and wait.

import { performance } from "node:perf_hooks";
import type pg from "pg";

import type { ConnectionOptions } from "./connection.js";
import { fromCall, fromResult, NotEnded } from "./errors.js";
import { connectionConfig, newPool } from "./pool.js";
import { type Duration, fromJson, interval, type Json, one, type Queryable, query, type Row, toJson } from "./sql.js";

/** Of each call. */
export interface CallOptions {
    /** A connection of yours: the call becomes part of the transaction that is open on it. */
    connection?: Queryable;
}

export interface StartOptions extends CallOptions {
    /** Chosen by you; starting the same id again is starting once. Default: made by the server. */
    id?: string;
    /** Not before then. */
    startAt?: Date;
    /** Not before that has passed. */
    delay?: Duration;
    /** Lower goes first; -1000 to 1000, default 0. */
    priority?: number;
    /** Of the whole run. */
    timeout?: Duration;
    /** Until its first turn. */
    startTimeout?: Duration;
    /** If the id exists. Default: `use_existing`. */
    onConflict?: "use_existing" | "fail" | "start_new";
    /** It begins when the limits of this queue let it. */
    queue?: string;
    /** For whom, where the queue is shared by turns. */
    key?: string;
    /** While an instance with the same one is open in the queue, none is started, and its id is returned. */
    dedup?: string;
}

export interface SignalOptions extends CallOptions {
    /** Sending the same key to the same run again does nothing. */
    key?: string;
}

export interface ReasonOptions extends CallOptions {
    /** Kept for those who look later. */
    reason?: string;
}

export interface ResultOptions extends CallOptions {
    /** How long to wait for the end. Default: not at all. */
    wait?: Duration;
}

export interface WaitValueOptions extends CallOptions {
    /** How long to wait. Default: 10 seconds. */
    wait?: Duration;
    /** Wait for one that differs from this. */
    known?: unknown;
}

export interface ReadStreamOptions extends CallOptions {
    /** The `seq` of the last item that is known; default 0. */
    after?: number;
    /** How long to wait for the first. Default: not at all. */
    wait?: Duration;
}

/** What an instance has appended to a stream. */
export interface StreamItem {
    seq: number;
    value: Json;
    at: Date;
}

export interface ListOptions extends CallOptions {
    workflow?: string;
    status?: Status | Status[];
    /** Ids that begin with this. */
    idPrefix?: string;
    /** Rows at most; default 100. */
    limit?: number;
    /** The `runId` of the last row of the page before. */
    before?: string;
}

export type Status = "pending" | "running" | "waiting" | "paused" | "completed" | "failed" | "cancelled";

/** A run, as the view `wf.workflows` has it. */
export interface WorkflowInfo {
    id: string;
    workflow: string;
    status: Status;
    waitingFor: string | null;
    input: Json;
    result: Json;
    /** What it has failed with. */
    error: string | null;
    sqlstate: string | null;
    /** What it has published by `wf_set`. */
    values: { [name: string]: Json } | null;
    createdAt: Date;
    startedAt: Date | null;
    finishedAt: Date | null;
    deadline: Date | null;
    startBy: Date | null;
    owner: string;
    priority: number;
    version: number;
    /** From 1: the how-manieth run of this id. */
    run: number;
    runId: string;
    parent: string | null;
}

const SIGNAL = "SELECT wf_signal(id => $1, name => $2, payload => $3::jsonb, key => $4)";
const WAIT_VALUE = "SELECT wf_wait_value(id => $1, name => $2, wait => $3::interval, known => $4::jsonb)";
const READ_STREAM = `SELECT s.seq, s.value, to_jsonb(s.at) AS at
    FROM wf_read_stream(id => $1, name => $2, after => $3::bigint, wait => $4::interval) AS s`;

// Newest first: run ids are ordered by time.
const LIST = `SELECT to_jsonb(w) AS run FROM wf.workflows w
    WHERE ($1::text IS NULL OR w.workflow = $1) AND ($2::text[] IS NULL OR w.status = ANY ($2))
      AND ($3::text IS NULL OR starts_with(w.id, $3)) AND ($4::uuid IS NULL OR w.run_id < $4)
    ORDER BY w.run_id DESC LIMIT $5::integer`;

/** A wait is made of waits of this many milliseconds, so that none keeps a connection, and a snapshot, for long. */
const SLICE = 5_000;

export class Client {
    readonly #db: Queryable;
    readonly #own: pg.Pool | undefined;

    /** `target`: where to connect to, by a pool of the client's own; or a `Pool` or `Client` of yours. */
    constructor(target: string | ConnectionOptions | Queryable = {}) {
        if (typeof target === "object" && typeof target.query === "function") {
            this.#db = target as Queryable;
        } else {
            this.#own = newPool(connectionConfig(target as string | ConnectionOptions, "pg_workflow"));
            this.#db = this.#own;
        }
    }

    /** Closes the client's own connections. */
    async close(): Promise<void> {
        await this.#own?.end();
    }

    /** Starts a workflow, and returns its id. */
    async start(workflow: string, input: unknown = {}, options: StartOptions = {}): Promise<string> {
        const values: unknown[] = [workflow, toJson(input)];
        let more = "";
        const given = (argument: string, value: unknown) => {
            if (value !== undefined && value !== null) {
                more += `, ${argument} => $${values.push(value)}`;
            }
        };
        given("id", options.id);
        given("start_at", options.startAt?.toISOString());
        given("delay", interval(options.delay));
        given("priority", options.priority);
        given("timeout", interval(options.timeout));
        given("on_conflict", options.onConflict);
        given("start_timeout", interval(options.startTimeout));
        given("queue", options.queue);
        given("key", options.key);
        given("dedup", options.dedup);
        const text = `SELECT wf_start(workflow => $1, input => $2${more})`;
        return (await this.#call(text, values, options.connection)) ?? "";
    }

    /** Sends a signal; false if its key had been sent before. */
    async signal(id: string, name: string, payload: unknown = null, options: SignalOptions = {}): Promise<boolean> {
        const values = [id, name, toJson(payload), options.key ?? null];
        return (await this.#call(SIGNAL, values, options.connection)) === "t";
    }

    /** Cancels the open run of an id; false if it has ended already. */
    async cancel(id: string, options: ReasonOptions = {}): Promise<boolean> {
        return (await this.#call("SELECT wf_cancel(id => $1, reason => $2)", [id, options.reason ?? null], options.connection)) === "t";
    }

    async status(id: string, options: CallOptions = {}): Promise<Status> {
        return (await this.#call("SELECT wf_status(id => $1)", [id], options.connection)) as Status;
    }

    /** What the workflow has published under a name, undefined if it has not; without a name the whole instance. */
    async get(id: string, name?: string, options: CallOptions = {}): Promise<Json | undefined> {
        return fromJson(await this.#call("SELECT wf_get(id => $1, name => $2)", [id, name ?? null], options.connection));
    }

    /** The result of a run, undefined for SQL's null. Throws what it has failed with, or NotEnded. */
    async result(id: string, options: ResultOptions = {}): Promise<Json | undefined> {
        const db = options.connection ?? this.#db;
        const wait = await this.#milliseconds(options.wait ?? 0, db);
        // An error would end the transaction that may be open on a connection of the caller's: there it is one wait.
        const slice = "totalCount" in db ? SLICE : wait;
        const end = performance.now() + wait;
        for (;;) {
            const left = Math.max(0, end - performance.now());
            try {
                const values = [id, interval(Math.min(left, slice))];
                return fromJson(await one(db, "SELECT wf_result(id => $1, wait => $2::interval)", values));
            } catch (error) {
                const mapped = fromResult(error, id);
                if (!(mapped instanceof NotEnded && left > slice)) {
                    throw mapped;
                }
            }
        }
    }

    /** The value that is published under a name, as soon as there is one. Undefined when time or run have ended without. */
    async waitValue(id: string, name: string, options: WaitValueOptions = {}): Promise<Json | undefined> {
        const values = [id, name, interval(options.wait ?? 10_000), toJson(options.known)];
        return fromJson(await this.#call(WAIT_VALUE, values, options.connection));
    }

    /** What the run has appended to a stream behind position `after`. */
    async readStream(id: string, name: string, options: ReadStreamOptions = {}): Promise<StreamItem[]> {
        const values = [id, name, options.after ?? 0, interval(options.wait ?? 0)];
        const rows = await this.#query(READ_STREAM, values, options.connection);
        return rows.map((row) => ({
            seq: Number(row["seq"]),
            value: fromJson(row["value"]) ?? null,
            at: new Date(fromJson(row["at"]) as string),
        }));
    }

    /** Pauses an instance; false if it was paused already, or has ended. */
    async pause(id: string, options: ReasonOptions = {}): Promise<boolean> {
        const values = [id, options.reason ?? null];
        return (await this.#call("SELECT wf_pause(id => $1, reason => $2)", values, options.connection)) === "t";
    }

    /** Lets a paused instance go on; false if it was not paused. */
    async resume(id: string, options: ReasonOptions = {}): Promise<boolean> {
        const values = [id, options.reason ?? null];
        return (await this.#call("SELECT wf_resume(id => $1, reason => $2)", values, options.connection)) === "t";
    }

    /** Lets an instance go on that has failed or was cancelled, with the call at which it did. */
    async retry(id: string, options: ReasonOptions = {}): Promise<void> {
        await this.#call("SELECT wf_retry(id => $1, reason => $2)", [id, options.reason ?? null], options.connection);
    }

    /** Runs, newest first. */
    async list(options: ListOptions = {}): Promise<WorkflowInfo[]> {
        const { workflow, status, idPrefix, before, limit = 100, connection } = options;
        const statuses = typeof status === "string" ? [status] : status;
        const values = [workflow ?? null, statuses ?? null, idPrefix ?? null, before ?? null, limit];
        const rows = await this.#query(LIST, values, connection);
        return rows.map((row) => info(fromJson(row["run"]) as Record<string, Json>));
    }

    async #call(text: string, values: unknown[], connection?: Queryable): Promise<string | null> {
        const [row] = await this.#query(text, values, connection);
        return row === undefined ? null : (Object.values(row)[0] ?? null);
    }

    async #query(text: string, values: unknown[], connection: Queryable | undefined): Promise<Row[]> {
        try {
            return await query(connection ?? this.#db, text, values);
        } catch (error) {
            throw fromCall(error);
        }
    }

    async #milliseconds(duration: Duration, db: Queryable): Promise<number> {
        if (typeof duration === "number") {
            return duration;
        }
        return Number(await one(db, "SELECT 1000 * extract(epoch FROM $1::interval)", [duration]));
    }
}

const TIMES = new Set(["created_at", "started_at", "finished_at", "deadline", "start_by"]);

/** A row of the view, with JavaScript's names and dates. */
function info(row: Record<string, Json>): WorkflowInfo {
    const fields = Object.entries(row).map(([column, value]) => {
        const name = column.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
        return [name, TIMES.has(column) && typeof value === "string" ? new Date(value) : value];
    });
    return Object.fromEntries(fields) as WorkflowInfo;
}
