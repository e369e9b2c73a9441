// Servers and workers that are killed, and workers that are told to stop: with real signals, in processes of their own.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { Client } from "pg-workflow";
import { database, eventually, gate, newCluster, newWorker } from "./setup.js";

const cluster = newCluster("typescript-crash");
const pool = await database("ts_crash");
const client = new Client(pool);
await pool.query("CREATE TABLE log (id text, worker text, what text)");

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "pg-workflow-"));
after(() => rmSync(folder, { recursive: true }));

// A worker as a user writes it. It tells what it does in the table "log".
writeFileSync(
    join(folder, "worker.mjs"),
    `import pg from "${root}node_modules/pg/lib/index.js";
    import { setTimeout as sleep } from "node:timers/promises";
    import { Worker } from "${root}dist/index.js";

    const { QUEUE, NAME, LEASE, GRACE } = process.env;
    const pool = new pg.Pool();
    const note = (task, what) => pool.query("INSERT INTO log VALUES ($1, $2, $3)", [task.id, NAME, what]);
    export const worker = new Worker({ queue: QUEUE, name: NAME, lease: Number(LEASE), graceMs: Number(GRACE), concurrency: 4 });
    worker.task("deaf", async (task, ms) => {
        await note(task, "begun");
        await sleep(ms);
        return NAME;
    });
    worker.task("polite", async (task, ms) => {
        await note(task, "begun");
        task.signal.addEventListener("abort", () => void note(task, "cancelled"));
        await sleep(ms, undefined, { signal: task.signal });
        return NAME;
    });
    export const wide = new Worker({ queue: QUEUE }).task("x", () => {});
    export const nothing = 1;
    export default wide;
    `,
);

class Process {
    output = "";
    readonly child: ChildProcess;

    constructor(args: string[], env: Record<string, string> = {}) {
        this.child = spawn(process.execPath, [`${root}dist/cli.js`, ...args], { cwd: folder, env: { ...process.env, ...env } });
        this.child.stdout?.on("data", (data) => (this.output += data));
        this.child.stderr?.on("data", (data) => (this.output += data));
    }

    static worker(queue: string, name: string, { lease = 60_000, grace = 20_000, args = [] as string[] } = {}): Process {
        const env = { QUEUE: queue, NAME: name, LEASE: String(lease), GRACE: String(grace) };
        const made = new Process(["worker", "./worker.mjs", ...args], env);
        processes.push(made);
        return made;
    }

    /** Its exit status, and the signal that has ended it. */
    async end(): Promise<unknown[]> {
        if (this.child.exitCode !== null || this.child.signalCode !== null) {
            return [this.child.exitCode, this.child.signalCode];
        }
        return once(this.child, "close");
    }
}

const processes: Process[] = [];
after(() => processes.forEach(({ child }) => child.kill("SIGKILL")));

function start(queue: string, task: string, input: number, retry?: object): Promise<string> {
    return client.start("one_task", { queue, task, input, retry });
}

async function noted(id: string, what: string, worker = "%"): Promise<boolean> {
    const text = "SELECT FROM log WHERE id = $1 AND what = $2 AND worker LIKE $3";
    return (await pool.query(text, [id, what, worker])).rows.length > 0;
}

async function taskOf(id: string): Promise<Record<string, unknown>> {
    return (await pool.query("SELECT * FROM wf.tasks WHERE id = $1", [id])).rows[0];
}

test("SIGKILL of a worker: another takes over after the lease", async () => {
    const first = Process.worker("killed", "first", { lease: 3_000 });
    const id = await start("killed", "deaf", 4_500, { first_delay: "1 ms" });
    await eventually("it has begun", () => noted(id, "begun", "first"));
    first.child.kill("SIGKILL");
    const second = Process.worker("killed", "second", { lease: 3_000 });
    assert.equal(await client.result(id, { wait: "30 s" }), "second");
    const { status, attempt } = await taskOf(id);
    assert.deepEqual([status, attempt], ["completed", 2]);
    second.child.kill("SIGKILL");
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
    test(`${signal} lets tasks end, and claims no more`, async () => {
        const worker = Process.worker(signal, "first");
        const ids = [await start(signal, "deaf", 1_500), await start(signal, "polite", 1_500)];
        for (const id of ids) {
            await eventually("it has begun", () => noted(id, "begun"));
        }
        worker.child.kill(signal);
        await eventually("it waits", () => worker.output.includes("waits for 2 tasks"));
        const late = await start(signal, "deaf", 0);
        assert.deepEqual(await worker.end(), [0, null]);
        for (const id of ids) {
            assert.equal(await client.result(id), "first");
            assert.equal((await taskOf(id))["attempt"], 1);
        }
        assert.equal((await taskOf(late))["status"], "waiting");
    });
}

test("what does not end in time is handed back", async () => {
    const worker = Process.worker("handed", "first", { grace: 60_000, args: ["--grace", "0.3"] });
    // Its policy allows no other attempt.
    const retry = { max_attempts: 1 };
    const ids = [await start("handed", "deaf", 60_000, retry), await start("handed", "polite", 60_000, retry)] as const;
    for (const id of ids) {
        await eventually("it has begun", () => noted(id, "begun"));
    }
    worker.child.kill("SIGTERM");
    assert.deepEqual(await worker.end(), [0, null]);
    for (const id of ids) {
        const { status, attempt, error } = await taskOf(id);
        assert.deepEqual([status, attempt, error], ["waiting", 0, 'worker "first" was stopped']);
    }
    assert(await noted(ids[1], "cancelled"));
    const second = Process.worker("handed", "second");
    for (const id of ids) {
        await eventually("another has it", () => noted(id, "begun", "second"));
    }
    second.child.kill("SIGKILL");
});

test("a second signal does not wait", async () => {
    const worker = Process.worker("second", "first", { grace: 60_000 });
    const id = await start("second", "deaf", 60_000);
    await eventually("it has begun", () => noted(id, "begun"));
    worker.child.kill("SIGTERM");
    await eventually("it waits", () => worker.output.includes("waits for 1 task"));
    worker.child.kill("SIGTERM");
    assert.deepEqual(await worker.end(), [0, null]);
    assert.equal((await taskOf(id))["status"], "waiting");
});

test("the command line: help, options, wrong use", async () => {
    const run = async (...args: string[]) => {
        const made = new Process(args, { QUEUE: "cli", NAME: "cli", LEASE: "60000", GRACE: "1" });
        const [status] = await made.end();
        return [status, made.output] as [number, string];
    };
    const fails = async (status: number, message: RegExp, ...args: string[]) => {
        const [found, output] = await run(...args);
        assert.match(output, message);
        assert.equal(found, status);
    };
    writeFileSync(join(folder, "empty.mjs"), "export default {};");
    await Promise.all([
        fails(0, /^usage: pg-workflow worker MODULE/, "--help"),
        fails(2, /say which worker/),
        fails(2, /say which worker/, "worker"),
        fails(2, /say which worker/, "worker", "a.js", "b.js"),
        fails(2, /--no-such/, "worker", "./worker.mjs", "--no-such"),
        fails(2, /--concurrency must be a number/, "worker", "./worker.mjs", "--concurrency", "many"),
        fails(2, /unknown log level "loud"/, "worker", "./worker.mjs", "--log-level", "loud"),
        fails(1, /concurrency must be from 1 to 10000/, "worker", "./worker.mjs", "--concurrency", "1.5"),
        fails(1, /no-such-module/, "worker", "./no-such-module.js"),
        fails(2, /exports no worker/, "worker", "empty.mjs"),
    ]);
    writeFileSync(join(folder, "default.mjs"), 'export { default } from "./worker.mjs";');
    const quiet = Process.worker("cli", "quiet", { args: ["--log-level", "silent"] });
    const wide = new Process(["worker", "./default.mjs", "--concurrency", "33"], { QUEUE: "cli" });
    await eventually("it says how many", () => wide.output.includes("up to 33 tasks at a time from cli"));
    for (const { child } of [wide, quiet]) {
        child.kill("SIGTERM");
    }
    await Promise.all([wide.end(), quiet.end()]);
    assert.equal(quiet.output, "");
});

for (const wait of ["call", "poll"] as const) {
    test(`the server is killed under a busy worker: each task is completed once (wait: ${wait})`, async () => {
        const queue = `busy-${wait}`;
        const worker = newWorker({ queue, wait, pauseMs: 50, concurrency: 8, lease: 6_000 });
        worker.task<number>("count", async (_, number) => {
            await sleep(50);
            return number;
        });
        void worker.run();

        // Workflows are started all the time, also while the server goes and comes; each id once.
        const ids: string[] = [];
        let more = true;
        const starts = (async () => {
            while (more) {
                const id = `${queue}-${ids.length}`;
                try {
                    await client.start("one_task", { queue, task: "count", input: ids.length, retry: { first_delay: "1 ms" } }, { id });
                    ids.push(id);
                    await sleep(10);
                } catch {
                    await sleep(100);
                }
            }
        })();
        for (const goal of [40, 80]) {
            await eventually("some are started", () => ids.length > goal);
            cluster("kill");
            cluster("start");
        }
        await eventually("some more are started", () => ids.length > 120);
        more = false;
        await starts;
        for (const [number, id] of ids.entries()) {
            assert.equal(await client.result(id, { wait: "30 s" }), number);
        }
        const counts = `SELECT count(*)::int AS n, count(DISTINCT id)::int AS ids,
            count(*) FILTER (WHERE status = 'completed')::int AS completed, max(attempt) AS attempt FROM wf.tasks WHERE queue = $1`;
        const [{ n, ids: distinct, completed, attempt }] = (await pool.query(counts, [queue])).rows;
        assert.deepEqual([n, distinct, completed], [ids.length, ids.length, ids.length]);
        // One whose claim was committed, but not heard of.
        assert(attempt <= 2, `${attempt} attempts`);
        assert(worker.log.has("the server is back"));
        await worker.stop();
    });
}

test("a result waits for the server, and is that of the first attempt", async () => {
    const begun = gate();
    const killed = gate();
    const worker = newWorker({ queue: "patient" });
    worker.task("work", async (task) => {
        begun.open();
        await killed.promise;
        return task.attempt;
    });
    void worker.run();
    const id = await client.start("one_task", { queue: "patient", task: "work" });
    await begun.promise;
    cluster("kill");
    killed.open();
    await eventually("it tries", () => worker.log.has("cannot report"));
    cluster("start");
    await eventually("the server is there", () => pool.query("SELECT").then(() => true, () => false));
    assert.equal(await client.result(id, { wait: "20 s" }), 1);
    await worker.stop();
});

test("connections that are ended are made anew", async () => {
    const worker = newWorker({ queue: "ended", name: "ended" }).task("work", () => "done");
    void worker.run();
    for (let i = 0; i < 3; i++) {
        await eventually("it is connected", async () => {
            const text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_workflow worker ended'";
            return (await pool.query(text)).rows.length > 0;
        });
        const id = await client.start("one_task", { queue: "ended", task: "work" });
        assert.equal(await client.result(id, { wait: "20 s" }), "done");
    }
    await worker.stop();
});

test("a worker waits for a server that is not there yet, and stops while it is away", async () => {
    const stops = newWorker({ queue: "away" }).task("work", () => "done");
    const works = newWorker({ queue: "away" }).task("work", () => "done");
    cluster("kill");
    const runs = [stops.run(), works.run()];
    await eventually("they try", () => [stops, works].every((worker) => worker.log.has("cannot ask the server")));
    await stops.stop();
    await runs[0];
    cluster("start");
    await eventually("the server is there", () => pool.query("SELECT").then(() => true, () => false));
    const id = await client.start("one_task", { queue: "away", task: "work" });
    assert.equal(await client.result(id, { wait: "20 s" }), "done");
    await works.stop();
    await runs[1];
});
