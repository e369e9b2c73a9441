// Tells the server what has become of tasks, until it has taken it.

import { setImmediate as nextTurn } from "node:timers/promises";

import { isTransient } from "./errors.js";
import { describe, type Logger } from "./log.js";
import { Backoff } from "./pause.js";
import { type Duration, interval, type Queryable, query } from "./sql.js";

/** How an attempt has failed. */
export interface Failure {
    message: string;
    retryable: boolean;
    delay?: Duration | undefined;
    sqlstate?: string | undefined;
    detail?: string | undefined;
    /** As an attempt; else the task is handed back. */
    counts?: boolean | undefined;
}

/** Of whom something is reported. */
export interface Reported {
    name: string;
    token: string;
    /** For the log. */
    label: string;
}

interface Report {
    task: Reported;
    /** A result as JSON text, or null for none; or a failure. */
    outcome: string | null | Failure;
    done: () => void;
}

const FAIL = `SELECT wf_fail(task => $1, message => $2, retryable => $3::boolean, delay => $4::interval, sqlstate => $5,
    detail => $6, counts => $7::boolean)`;

/** Results that go in one statement: so many, or so many characters. */
const MOST_RESULTS = 500;
const MOST_CHARACTERS = 4_000_000;
/** Of a message, where the server has refused a longer one. */
const SHORT = 1_000;

export class Reporter {
    readonly #db: Queryable;
    readonly #log: Logger;
    readonly #backoff = new Backoff();
    readonly #abandoned = new AbortController();
    #queue: Report[] = [];
    #sending: Promise<void> | undefined;

    constructor(db: Queryable, log: Logger) {
        this.#db = db;
        this.#log = log;
    }

    /** Reports a result, given as JSON text. Ends when the server has taken or refused it; never fails. */
    complete(task: Reported, result: string | null): Promise<void> {
        return this.#report(task, result);
    }

    /** Reports that an attempt has failed. Ends and fails as `complete`. */
    fail(task: Reported, failure: Failure): Promise<void> {
        return this.#report(task, failure);
    }

    /** Stops trying: what has not got through is dropped. */
    abandon(): void {
        this.#abandoned.abort();
    }

    #report(task: Reported, outcome: Report["outcome"]): Promise<void> {
        return new Promise((done) => {
            this.#queue.push({ task, outcome, done });
            // What ends in the same moment goes together; what ends while that is on its way goes together next.
            this.#sending ??= nextTurn().then(() => this.#send());
        });
    }

    /** Until all has been reported, or given up. */
    async idle(): Promise<void> {
        await this.#sending;
    }

    async #send(): Promise<void> {
        while (this.#queue.length > 0) {
            const results = this.#takeResults();
            if (results.length > 0) {
                await this.#complete(results);
            }
            const failures = this.#queue.filter(isFailure);
            this.#queue = this.#queue.filter((report) => !isFailure(report));
            await Promise.all(failures.map((report) => this.#fail(report, report.outcome as Failure)));
        }
        this.#sending = undefined;
    }

    /** Takes results out of the queue, as many as go in one statement. */
    #takeResults(): Report[] {
        const taken = new Set<Report>();
        let characters = 0;
        for (const report of this.#queue) {
            if (isFailure(report)) {
                continue;
            }
            characters += (report.outcome as string | null)?.length ?? 0;
            if (taken.size > 0 && (taken.size === MOST_RESULTS || characters > MOST_CHARACTERS)) {
                break;
            }
            taken.add(report);
        }
        this.#queue = this.#queue.filter((report) => !taken.has(report));
        return [...taken];
    }

    async #complete(reports: Report[]): Promise<void> {
        const tasks = reports.map(({ task, outcome }) => {
            const result = outcome === null ? "" : `,"result":${outcome as string}`;
            return `{"task":${JSON.stringify(task.token)}${result}}`;
        });
        try {
            const text = "SELECT task, outcome FROM wf_complete(tasks => $1::jsonb)";
            const rows = await this.#persist(() => query(this.#db, text, [`[${tasks.join(",")}]`]));
            const outcomes = new Map(rows.map((row) => [row["task"], row["outcome"]]));
            for (const report of reports) {
                if (outcomes.get(report.task.token) === "lost") {
                    this.#log.warn(`${report.task.label}: its result comes too late, the task is not this worker's any more`);
                }
                report.done();
            }
        } catch (error) {
            const [report] = reports;
            if (reports.length > 1 || !report) {
                // One of them has spoilt it for all.
                for (const each of reports) {
                    await this.#complete([each]);
                }
            } else if (isFinal(error)) {
                this.#drop(report, error);
            } else {
                // The work is done: another attempt would do it once more, for the same result.
                const message = `result of task "${report.task.name}" was refused: ${describe(error)}`;
                this.#log.error(`${report.task.label}: ${message}`);
                const { detail } = error as { detail?: string };
                await this.#fail(report, { message, retryable: false, detail });
            }
        }
    }

    async #fail(report: Report, failure: Failure, isLast = false): Promise<void> {
        try {
            const { message, retryable, delay, sqlstate = "WF008", detail, counts = true } = failure;
            const words = [clean(message), retryable, interval(delay), sqlstate, detail && clean(detail)];
            const values = [report.task.token, ...words, counts];
            await this.#persist(() => query(this.#db, FAIL, values));
            report.done();
        } catch (error) {
            if (isLast || isFinal(error)) {
                this.#drop(report, error);
            } else {
                this.#log.error(`${report.task.label}: its failure was refused, and is reported in short: ${describe(error)}`);
                await this.#fail(report, { message: failure.message.slice(0, SHORT), retryable: failure.retryable, counts: failure.counts }, true);
            }
        }
    }

    #drop(report: Report, error: unknown): void {
        this.#log.warn(`${report.task.label}: its report was dropped: ${describe(error)}`);
        report.done();
    }

    /** Tries until the server has answered. Fails if it refuses, or when that is given up. */
    async #persist<T>(work: () => Promise<T>): Promise<T> {
        while (!this.#abandoned.signal.aborted) {
            try {
                const result = await work();
                this.#backoff.reset();
                return result;
            } catch (error) {
                if (!isTransient(error)) {
                    throw error;
                }
                this.#log.warn(`cannot report to the server, will try again: ${describe(error)}`);
                await this.#backoff.wait(this.#abandoned.signal);
            }
        }
        throw new Abandoned("the worker has stopped");
    }
}

class Abandoned extends Error {}

/** Is there nobody any more to whom anything could be reported? */
function isFinal(error: unknown): boolean {
    return error instanceof Abandoned || ["WF007", "42704"].includes(codeOf(error) ?? "");
}

function isFailure(report: Report): boolean {
    return typeof report.outcome === "object" && report.outcome !== null;
}

/** Text of Postgres has no NUL. */
function clean(text: string): string {
    return text.replaceAll("\0", "\uFFFD");
}

function codeOf(error: unknown): string | undefined {
    const code = (error as { code?: unknown }).code;
    return typeof code === "string" ? code : undefined;
}
