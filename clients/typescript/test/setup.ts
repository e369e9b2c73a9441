// What the tests share: a database each, programs of SQL, workers that are stopped, waits with a deadline.

import { execFileSync } from "node:child_process";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

import { type Logger, Worker, type WorkerOptions } from "pg-workflow";

/** A database of a file's own, dropped at its end. */
export async function database(name: string): Promise<pg.Pool> {
    await asAdmin(
        `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`,
        `CREATE DATABASE ${name}`,
        // So that what is too large need not be very large.
        `ALTER DATABASE ${name} SET pg_workflow.max_payload = '100 kB'`,
    );
    process.env["PGDATABASE"] = name;
    const pool = new pg.Pool({ max: 20 });
    pool.on("error", () => {});
    await pool.query("CREATE EXTENSION pg_workflow");
    await pool.query(WORKFLOWS);
    after(async () => {
        await pool.end();
        await asAdmin(`DROP DATABASE ${name} WITH (FORCE)`);
    });
    return pool;
}

async function asAdmin(...statements: string[]): Promise<void> {
    const admin = new pg.Client({ database: "postgres" });
    await admin.connect();
    for (const statement of statements) {
        await admin.query(statement);
    }
    await admin.end();
}

const WORKFLOWS = `
-- One task: its name, queue, input and the other arguments of wf_task as the workflow's input.
CREATE FUNCTION one_task(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_task(input->>'task', input->>'queue', coalesce(input->'input', '{}'), timeout => (input->>'timeout')::interval,
                   retry => input->'retry', heartbeat => (input->>'heartbeat')::interval);
END $$;
CREATE FUNCTION many_tasks(queue text, tasks integer) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    handles integer[];
BEGIN
    FOR i IN 1..tasks LOOP
        handles[i] := wf_begin('work', queue => queue, input => to_jsonb(i));
    END LOOP;
    RETURN wf_await(handles);
END $$;
CREATE FUNCTION asks(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_set('stage', '"asking"');
    PERFORM wf_emit('log', '1');
    PERFORM wf_emit('log', '{"n": 2}');
    RETURN wf_wait_signal('answer');
END $$;
CREATE FUNCTION echo(input jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT input';
CREATE FUNCTION nothing(input jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION fails(sqlstate text, message text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING errcode = sqlstate, message = message, detail = 'the detail';
END $$;
`;

/** Looks until it is true. */
export async function eventually(what: string, look: () => boolean | Promise<boolean>, ms = 60_000): Promise<void> {
    const end = Date.now() + ms;
    while (!(await look())) {
        if (Date.now() > end) {
            throw new Error(`not after ${ms} ms: ${what}`);
        }
        await sleep(20);
    }
}

/** What a worker has said, a line each. */
export class Log implements Logger {
    readonly lines: string[] = [];
    debug = (line: string) => void this.lines.push(line);
    info = this.debug;
    warn = this.debug;
    error = this.debug;
    has = (text: string) => this.lines.some((line) => line.includes(text));
}

const workers: Worker[] = [];
after(() => Promise.all(workers.map((worker) => worker.stop({ graceMs: 0 }))));

/** A worker that is stopped at the end of the file. */
export function newWorker(options: WorkerOptions & { log?: Log }): Worker & { log: Log } {
    const worker = new Worker({ log: new Log(), ...options });
    workers.push(worker);
    return worker as Worker & { log: Log };
}

/** A promise, and what settles it. */
export function gate<T = void>(): { promise: Promise<T>; open: (value: T) => void } {
    let open: (value: T) => void = () => {};
    const promise = new Promise<T>((resolve) => (open = resolve));
    return { promise, open };
}

/** Makes a cluster of this file's own, which may be killed and started; test.sh removes it. */
export function newCluster(name: string): (command: "start" | "kill") => void {
    const script = process.env["CLUSTER"];
    if (script === undefined) {
        throw new Error("run the tests by test.sh");
    }
    const run = (command: string) => execFileSync(script, [command, name], { stdio: ["ignore", "pipe", "inherit"], encoding: "utf8" });
    process.env["PGHOST"] = run("new").trim();
    return run;
}
