// Where a worker's tasks come from: wf_poll, as a CALL that waits, or as a plain statement.

import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

import { type Json, interval, type Queryable, query } from "./sql.js";
import type { Claimed, Clock } from "./task.js";

export interface SourceOptions {
    queues: string[];
    worker: string;
    lease: string;
}

export interface Batch extends Clock {
    tasks: Claimed[];
}

export interface Source {
    /** Claims up to so many tasks; may wait until there are some, and return none. */
    poll(max: number): Promise<Batch>;
    /** Ends a wait. What was claimed all the same is returned by `poll` as ever. */
    interrupt(): void;
    close(): Promise<void>;
}

const CALL = `CALL wf_poll(queues => $1::text[], wait => $2::interval, result => NULL, worker => $3, max => $4::integer,
    lease => $5::interval)`;
const MEET = `SELECT pg_backend_pid() AS pid, 1000 * extract(epoch FROM clock_timestamp()) AS now,
    1000 * extract(epoch FROM $1::interval) AS lease`;
const POLL = `SELECT to_jsonb(t) AS task, 1000 * extract(epoch FROM clock_timestamp()) AS now,
    1000 * extract(epoch FROM $4::interval) AS lease
    FROM wf_poll(queues => $1::text[], worker => $2, max => $3::integer, lease => $4::interval) AS t`;

/** By `CALL wf_poll`, on a connection of its own. */
export class WaitingSource implements Source {
    /** A wait of the server's, in milliseconds; then it is asked again. */
    static readonly WAIT = 30_000;
    /** A server that has not answered a request to end it after so many milliseconds does not answer at all. */
    static readonly LAST = 5_000;
    readonly #config: pg.ClientConfig;
    readonly #control: Queryable;
    readonly #options: SourceOptions;
    #client: pg.Client | undefined;
    #pid: string | null = null;
    /** What the server's clock is before ours, which counts from somewhere. */
    #offset = 0;
    #lease = 0;
    #polling = false;

    /** `control`: connections by which the wait is interrupted. */
    constructor(config: pg.ClientConfig, control: Queryable, options: SourceOptions) {
        // Without an answer long after the wait is over the connection is broken.
        this.#config = { ...config, query_timeout: WaitingSource.WAIT + 15_000 };
        this.#control = control;
        this.#options = options;
    }

    async poll(max: number): Promise<Batch> {
        this.#polling = true;
        try {
            const client = (this.#client ??= await this.#connect());
            const { queues, worker, lease } = this.#options;
            const [row] = await query(client, CALL, [queues, interval(WaitingSource.WAIT), worker, max, lease]);
            const tasks = JSON.parse(row?.["result"] ?? "[]") as Claimed[];
            return { tasks, now: performance.now() + this.#offset, lease: this.#lease };
        } catch (error) {
            await this.close();
            throw error;
        } finally {
            this.#polling = false;
        }
    }

    interrupt(): void {
        void this.#interrupt(performance.now() + WaitingSource.LAST);
    }

    async #interrupt(end: number): Promise<void> {
        while (this.#polling) {
            if (performance.now() > end) {
                await this.close();
            } else if (this.#pid !== null) {
                // Not by closing the connection: the server would notice only when it looks for tasks the next time.
                this.#control.query({ ...CANCEL, values: [this.#pid] }).catch(() => {});
            }
            // It may not have arrived there yet, or just have come back.
            await sleep(200);
        }
    }

    async close(): Promise<void> {
        const client = this.#client;
        this.#client = undefined;
        this.#pid = null;
        await client?.end().catch(() => {});
    }

    async #connect(): Promise<pg.Client> {
        const client = new pg.Client(this.#config);
        // The query that is under way fails too, or the next one.
        client.on("error", () => {});
        try {
            await client.connect();
            // A limit for statements of this role is not meant for a wait.
            await client.query("SET statement_timeout = 0");
            const asked = performance.now();
            const [row] = await query(client, MEET, [this.#options.lease]);
            this.#offset = Number(row?.["now"]) - (asked + performance.now()) / 2;
            this.#lease = Number(row?.["lease"]);
            this.#pid = row?.["pid"] ?? null;
            return client;
        } catch (error) {
            await client.end().catch(() => {});
            throw error;
        }
    }
}

const CANCEL = {
    text: "SELECT pg_cancel_backend($1::integer)",
    types: { getTypeParser: () => (value: string) => value },
};

/** By the function `wf_poll`, on any connection, also through a pool in transaction mode. */
export class PollingSource implements Source {
    readonly #db: Queryable;
    readonly #options: SourceOptions;

    constructor(db: Queryable, options: SourceOptions) {
        this.#db = db;
        this.#options = options;
    }

    async poll(max: number): Promise<Batch> {
        const { queues, worker, lease } = this.#options;
        const rows = await query(this.#db, POLL, [queues, worker, max, lease]);
        const tasks = rows.map((row) => JSON.parse(row["task"] ?? "null") as Json as unknown as Claimed);
        return { tasks, now: Number(rows[0]?.["now"]), lease: Number(rows[0]?.["lease"]) };
    }

    interrupt(): void {}

    async close(): Promise<void> {}
}
