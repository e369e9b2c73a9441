// A task that a handler is at: what the handler sees of it, and its signs of life.

import { type CancelReason, fromCall, isTransient, TaskCancelled } from "./errors.js";
import { describe, type Logger } from "./log.js";
import { type Json, one, type Queryable, toJson } from "./sql.js";

/** What a handler is given beside the input. */
export interface Task {
    readonly name: string;
    readonly queue: string;
    /** The instance whose task it is. */
    readonly id: string;
    readonly workflow: string;
    /** From 1. */
    readonly attempt: number;
    /** The same in all attempts: hand it to whatever you call. */
    readonly idempotencyKey: string;
    /** When this attempt is given up at the latest, if there is a limit. */
    readonly deadline: Date | undefined;
    readonly input: Json;
    /** What an attempt before has said last by `heartbeat`: go on from there. */
    readonly heartbeatDetails: Json | undefined;
    /** W3C traceparent of the call, if the instance was started in a trace. */
    readonly trace: string | undefined;
    /** Aborted when nobody wants the result of this attempt any more; its reason is a `TaskCancelled`. */
    readonly signal: AbortSignal;
    /**
     * A sign of life, with details for the next attempt, should there be one. Needed for the details only: signs of life
     * are sent anyway. Throws the `TaskCancelled` if the task is to be given up.
     */
    heartbeat(details?: unknown): Promise<void>;
    /**
     * Completes the task in your own transaction: what you write in it and the result count together, exactly once. Commit
     * it and return; what the handler returns does not count any more. False if this attempt had completed it before. Throws
     * TaskLost if it is not this attempt's any more: roll back.
     */
    complete(connection: Queryable, result?: unknown): Promise<boolean>;
}

/** A claimed task, as `wf_poll` returns it. */
export interface Claimed {
    task: string;
    queue_name: string;
    name: string;
    attempt: number;
    input: Json;
    idempotency_key: string;
    deadline: string | null;
    lease_until: string;
    heartbeat?: Json;
    id: string;
    workflow: string;
    trace?: string | null;
}

/** What the times of a claim are to be measured by. */
export interface Clock {
    /** The server's time at the claim, in milliseconds: its clock need not be ours. */
    now: number;
    /** The lease that was asked for, in milliseconds; a task may have a shorter one. */
    lease: number;
}

/** Signs of life in each lease. */
const BEATS = 3;
/** In milliseconds. */
const SHORTEST_LEASE = 300;
/** The longest that setTimeout can wait. */
const LONGEST = 2 ** 31 - 1;

export class Running implements Task {
    readonly name: string;
    readonly queue: string;
    readonly id: string;
    readonly workflow: string;
    readonly attempt: number;
    readonly idempotencyKey: string;
    readonly deadline: Date | undefined;
    readonly input: Json;
    readonly heartbeatDetails: Json | undefined;
    readonly trace: string | undefined;
    readonly signal: AbortSignal;
    readonly token: string;
    /** The handler has come to its end. */
    finished = false;
    readonly #db: Queryable;
    readonly #log: Logger;
    readonly #abort = new AbortController();
    readonly #every: number;
    #timer: NodeJS.Timeout | undefined;
    #deadlineTimer: NodeJS.Timeout | undefined;
    /** As JSON, not yet taken by the server. */
    #unsent: string | null = null;
    #completed = false;

    constructor(claimed: Claimed, { now, lease }: Clock, db: Queryable, log: Logger) {
        this.name = claimed.name;
        this.queue = claimed.queue_name;
        this.id = claimed.id;
        this.workflow = claimed.workflow;
        this.attempt = claimed.attempt;
        this.idempotencyKey = claimed.idempotency_key;
        this.deadline = claimed.deadline ? new Date(claimed.deadline) : undefined;
        this.input = claimed.input;
        this.heartbeatDetails = claimed.heartbeat ?? undefined;
        this.trace = claimed.trace ?? undefined;
        this.signal = this.#abort.signal;
        this.token = claimed.task;
        this.#db = db;
        this.#log = log;
        // Whatever has become of the clocks meanwhile, between the shortest that makes sense and what was asked for.
        this.#every = Math.min(Math.max(Date.parse(claimed.lease_until) - now, SHORTEST_LEASE), lease) / BEATS;
        this.#plan(this.#every);
        if (this.deadline) {
            const left = Math.max(0, this.deadline.getTime() - now);
            this.#deadlineTimer = left <= LONGEST ? setTimeout(() => this.cancel("deadline"), left) : undefined;
        }
    }

    /** For the log. */
    get label(): string {
        return `task "${this.name}" of "${this.id}", attempt ${this.attempt}`;
    }

    /** Why it is to be given up, if it is. */
    get cancelled(): CancelReason | undefined {
        return this.signal.aborted ? (this.signal.reason as TaskCancelled).reason : undefined;
    }

    async heartbeat(details?: unknown): Promise<void> {
        this.signal.throwIfAborted();
        this.#unsent = toJson(details) ?? this.#unsent;
        try {
            await this.#beat();
        } catch (error) {
            if (!isTransient(error)) {
                throw error;
            }
            this.#log.warn(`${this.label}: details of the heartbeat will be sent later: ${describe(error)}`);
        }
        this.signal.throwIfAborted();
    }

    async complete(connection: Queryable, result?: unknown): Promise<boolean> {
        try {
            const text = "SELECT wf_complete(task => $1, result => $2::jsonb)";
            const isNew = await one(connection, text, [this.token, toJson(result)]);
            this.#completed = true;
            return isNew === "t";
        } catch (error) {
            throw fromCall(error);
        }
    }

    /** Has the handler completed it itself? */
    get completed(): boolean {
        return this.#completed;
    }

    /** Tells the handler to give up. */
    cancel(reason: CancelReason): void {
        if (!this.signal.aborted) {
            this.#abort.abort(new TaskCancelled(this.name, reason));
            this.end();
        }
    }

    /** No more signs of life. */
    end(): void {
        clearTimeout(this.#timer);
        clearTimeout(this.#deadlineTimer);
        this.#timer = undefined;
    }

    #plan(ms: number): void {
        const beat = async () => {
            let next = this.#every;
            try {
                await this.#beat();
            } catch (error) {
                this.#log.warn(`${this.label}: no sign of life could be sent: ${describe(error)}`);
                // While there is some of the lease left.
                next /= BEATS;
            }
            if (this.#timer !== undefined) {
                this.#plan(next);
            }
        };
        this.#timer = setTimeout(() => void beat(), Math.min(ms, LONGEST));
    }

    /** One sign of life. Fails if it may not have arrived. */
    async #beat(): Promise<void> {
        const details = this.#unsent;
        // Before the answer, since others may come meanwhile; and what is refused shall not be said again.
        this.#unsent = null;
        try {
            const wanted = await one(this.#db, "SELECT wf_heartbeat(task => $1, details => $2::jsonb)", [this.token, details]);
            if (wanted === "f") {
                this.cancel("cancelled");
            }
        } catch (error) {
            const code = (error as { code?: unknown }).code;
            if (code === "WF007" || code === "42704") {
                this.cancel("lost");
                return;
            }
            if (isTransient(error)) {
                this.#unsent ??= details;
            }
            throw error;
        }
    }
}
