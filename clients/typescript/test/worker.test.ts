import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Client, StepTimeout, type Task, TaskCancelled, TaskFailed, TaskLost, Worker, WorkflowFailed } from "pg-workflow";
import { database, eventually, gate, Log, newWorker } from "./setup.js";

const pool = await database("ts_worker");
const client = new Client(pool);

/** Starts an instance with one task, and returns its id. */
function start(queue: string, task = "work", more: object = {}): Promise<string> {
    return client.start("one_task", { queue, task, ...more });
}

const result = (id: string) => client.result(id, { wait: "20 s" });
const NO_WAIT = { retry: { max_attempts: 3, first_delay: "0 s" } };

async function taskOf(id: string): Promise<Record<string, unknown>> {
    return (await pool.query("SELECT * FROM wf.tasks WHERE id = $1", [id])).rows[0];
}

for (const wait of ["call", "poll"] as const) {
    test(`a task is done, and its worker shown (wait: ${wait})`, async () => {
        const seen: Task[] = [];
        const worker = newWorker({ queue: `do-${wait}`, wait, pauseMs: 50, name: "till 1" });
        worker.task<{ to: string }>("send", async (task, { to }) => {
            seen.push(task);
            return { sent: to };
        });
        void worker.run();
        await sleep(100);
        const before = Date.now();
        const id = await start(`do-${wait}`, "send", { input: { to: "ann" }, timeout: "1 minute" });
        assert.deepEqual(await result(id), { sent: "ann" });
        const [task] = seen as [Task];
        assert.deepEqual([task.name, task.queue, task.id, task.workflow, task.attempt], ["send", `do-${wait}`, id, "one_task", 1]);
        assert.deepEqual(task.input, { to: "ann" });
        assert.match(task.idempotencyKey, /^[0-9a-f-]{36}\/\d+$/);
        assert(task.deadline && Math.abs(task.deadline.getTime() - before - 60_000) < 5_000);
        assert.equal(task.heartbeatDetails, undefined);
        assert.equal((await taskOf(id))["worker"], "till 1");
        await worker.stop();
    });

    test(`stop ends a wait at once (wait: ${wait})`, async () => {
        const worker = newWorker({ queue: "empty", wait, pauseMs: 60_000 }).task("x", () => {});
        const run = worker.run();
        await sleep(300);
        const before = Date.now();
        await worker.stop();
        await run;
        assert(Date.now() - before < 3_000);
        // Nobody is left who would claim what comes.
        const { rows } = await pool.query("SELECT query FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CALL wf_poll%'");
        assert.deepEqual(rows, []);
    });
}

test("CALL wf_poll is woken, and not asked again and again", async () => {
    const worker = newWorker({ queue: "woken" }).task("work", () => 1);
    void worker.run();
    await eventually("it waits", async () => {
        const { rows } = await pool.query("SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CALL wf_poll%' AND state = 'active'");
        return rows.length === 1;
    });
    const asked = async () => (await pool.query("SELECT query_start FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CALL wf_poll%'")).rows;
    const before = await asked();
    await sleep(1_200);
    assert.deepEqual(await asked(), before);
    assert.equal(await result(await start("woken")), 1);
    await worker.stop();
});

test("a limit of the role for statements does not end the wait", async () => {
    await pool.query("DROP ROLE IF EXISTS ts_limited; CREATE ROLE ts_limited LOGIN; ALTER ROLE ts_limited SET statement_timeout = '200 ms'");
    await pool.query("SELECT wf_queue('limited', workers => '{ts_limited}')");
    const worker = newWorker({ queue: "limited", connection: { user: "ts_limited" } }).task("work", () => 1);
    void worker.run();
    await sleep(600);
    assert(!worker.log.has("try again"));
    assert.equal(await result(await start("limited")), 1);
    await worker.stop();
    await pool.query("SELECT wf_queue('limited', workers => '{}')");
    await pool.query("DROP ROLE ts_limited");
});

test("results: undefined is SQL's NULL, null is JSON's", async () => {
    const worker = newWorker({ queue: "results" });
    worker.task("undefined", () => undefined).task("null", () => null).task("sync", () => [1, "x"]);
    void worker.run();
    const of = async (task: string) => (await pool.query("SELECT wf_result($1, '20 s')::text AS r", [await start("results", task)])).rows[0].r;
    assert.equal(await of("undefined"), null);
    assert.equal(await of("null"), "null");
    assert.equal(await of("sync"), '[1, "x"]');
    await worker.stop();
});

test("several queues, the first one first", async () => {
    const order: string[] = [];
    const ids = [await start("second"), await start("second"), await start("first")];
    await eventually("they are there", async () => {
        return (await pool.query("SELECT FROM wf.tasks WHERE queue IN ('first', 'second')")).rows.length === 3;
    });
    const worker = newWorker({ queue: ["first", "second"], concurrency: 1 }).task("work", (task) => void order.push(task.queue));
    void worker.run();
    await Promise.all(ids.map(result));
    assert.deepEqual(order, ["first", "second", "second"]);
    await worker.stop();
});

test("no more tasks than there is room for", async () => {
    let running = 0;
    let most = 0;
    const worker = newWorker({ queue: "room", concurrency: 3 });
    worker.task("work", async () => {
        most = Math.max(most, ++running);
        await sleep(30);
        // Claimed is what the table says, also if it did not begin here.
        const { rows } = await pool.query("SELECT FROM wf.tasks WHERE queue = 'room' AND status = 'running'");
        most = Math.max(most, rows.length);
        running--;
    });
    void worker.run();
    const id = await client.start("many_tasks", { queue: "room", tasks: 20 });
    await result(id);
    assert.equal(most, 3);
    await worker.stop();
});

test("a failure is made again, until the policy has enough", async () => {
    const attempts: number[] = [];
    const worker = newWorker({ queue: "fails" });
    worker.task("work", (task) => {
        attempts.push(task.attempt);
        throw new Error("not today");
    });
    void worker.run();
    await assert.rejects(result(await start("fails", "work", NO_WAIT)), (error: unknown) => {
        assert(error instanceof TaskFailed);
        assert.deepEqual([error.sqlstate, error.message], ["WF008", "Error: not today"]);
        assert.match(error.detail ?? "", /^Raised at .*worker\.test\.js:\d+/);
        return true;
    });
    assert.deepEqual(attempts, [1, 2, 3]);
    await worker.stop();
});

test("TaskFailed: retryable, sqlstate, detail", async () => {
    const worker = newWorker({ queue: "failed" });
    worker.task("work", () => {
        throw new TaskFailed("card declined", { retryable: false, sqlstate: "P0402", detail: "no money" });
    });
    void worker.run();
    const id = await start("failed", "work", NO_WAIT);
    await assert.rejects(result(id), (error: unknown) => {
        assert(error instanceof WorkflowFailed);
        assert.deepEqual([error.sqlstate, error.message, error.detail], ["P0402", "card declined", "no money"]);
        return true;
    });
    assert.equal((await taskOf(id))["attempt"], 1);
    await worker.stop();
});

test("TaskFailed: delay, in place of the policy's wait", async () => {
    const at: number[] = [];
    const worker = newWorker({ queue: "delay" });
    worker.task("work", (task) => {
        at.push(Date.now());
        if (task.attempt < 3) {
            throw new TaskFailed("later", { delay: task.attempt === 1 ? 400 : "0 s" });
        }
    });
    void worker.run();
    await result(await start("delay", "work", { retry: { max_attempts: 3, first_delay: "1 hour" } }));
    const [first = 0, second = 0] = at;
    assert(second - first >= 390, `${second - first} ms`);
    await worker.stop();
});

test("what is thrown need not be an error", async () => {
    const worker = newWorker({ queue: "thrown" });
    worker.task("text", () => Promise.reject("text")).task("object", () => Promise.reject(Object.assign(Object.create(null), { a: 1 })));
    worker.task("nothing", () => Promise.reject(undefined));
    void worker.run();
    const message = async (task: string) =>
        result(await start("thrown", task, { retry: { max_attempts: 1 } })).catch((error: Error) => error.message);
    assert.equal(await message("text"), "text");
    assert.equal(await message("object"), "[Object: null prototype] { a: 1 }");
    assert.equal(await message("nothing"), "undefined");
    await worker.stop();
});

test("noRetryOn", async () => {
    class Hopeless extends Error {}
    class Worse extends Hopeless {}
    const attempts: Record<string, number> = {};
    const worker = newWorker({ queue: "hopeless" });
    for (const [name, type] of Object.entries({ Worse, Error })) {
        const fail = (task: Task) => {
            attempts[name] = task.attempt;
            throw new type("no");
        };
        worker.task(name, fail, { noRetryOn: name === "Worse" ? Hopeless : [RangeError, Hopeless] });
    }
    void worker.run();
    await assert.rejects(result(await start("hopeless", "Worse", NO_WAIT)));
    await assert.rejects(result(await start("hopeless", "Error", NO_WAIT)));
    assert.deepEqual(attempts, { Worse: 1, Error: 3 });
    await worker.stop();
});

test("a failure that the server refuses is reported in short", async () => {
    const worker = newWorker({ queue: "refused" });
    const failures: Record<string, TaskFailed> = {
        sqlstate: new TaskFailed("first", { retryable: false, sqlstate: "00000" }),
        delay: new TaskFailed("second", { retryable: false, delay: "soon" }),
        long: new TaskFailed("x".repeat(200_000), { retryable: false }),
        zero: new TaskFailed("nul \0", { retryable: false, detail: "\0" }),
    };
    for (const [name, failure] of Object.entries(failures)) {
        worker.task(name, () => Promise.reject(failure));
    }
    void worker.run();
    const message = async (task: string) =>
        result(await start("refused", task)).then(
            () => "",
            (error: Error) => error.message,
        );
    assert.equal(await message("sqlstate"), "first");
    assert.equal(await message("delay"), "second");
    assert.equal(await message("long"), "x".repeat(1_000));
    assert.equal(await message("zero"), "nul \uFFFD");
    assert(worker.log.has("its failure was refused"));
    await worker.stop();
});

test("a result that cannot be kept fails for good, and hinders no other", async () => {
    const all = gate();
    let begun = 0;
    const worker = newWorker({ queue: "unkept" });
    const together = (value: () => unknown) => async () => {
        if (++begun === 4) {
            all.open();
        }
        await all.promise;
        return value();
    };
    worker.task("good", together(() => "good"));
    worker.task("bigint", together(() => 1n));
    worker.task("zero", together(() => "\0"));
    worker.task("large", together(() => "x".repeat(200_000)));
    void worker.run();
    const ids: Record<string, string> = {};
    for (const task of ["good", "bigint", "zero", "large"]) {
        ids[task] = await start("unkept", task, NO_WAIT);
    }
    const fails = (task: string, message: RegExp) =>
        assert.rejects(result(ids[task] ?? ""), (error: unknown) => {
            assert.match((error as Error).message, message);
            return true;
        });
    await fails("bigint", /^result of task "bigint" is not JSON: .*BigInt/);
    await fails("zero", /^result of task "zero" was refused: .*Unicode/);
    await fails("large", /^result of task "large" was refused: .*too large/);
    assert.equal(await result(ids["good"] ?? ""), "good");
    assert.equal((await taskOf(ids["large"] ?? ""))["attempt"], 1);
    await worker.stop();
});

test("a task without a handler is handed back, and said to be", async () => {
    const knows = newWorker({ queue: "names", name: "knows" }).task("new name", () => "done");
    const other = newWorker({ queue: "names", name: "does not" }).task("old name", () => {});
    void other.run();
    const id = await start("names", "new name", { retry: { first_delay: "1 ms" } });
    await eventually("it says so", () => other.log.has('has no task "new name"'));
    await eventually("it is in the table", async () => {
        return (await taskOf(id))["error"] === 'worker "does not" has no task "new name"';
    });
    void knows.run();
    await other.stop();
    assert.equal(await result(id), "done");
    await knows.stop();
});

test("signs of life keep a task for longer than its lease", async () => {
    const worker = newWorker({ queue: "alive", lease: 1_500 });
    worker.task("work", async (task) => {
        await sleep(3_500);
        return task.attempt;
    });
    void worker.run();
    assert.equal(await result(await start("alive")), 1);
    await worker.stop();
});

test("signs of life come as often as the task wants them", async () => {
    const worker = newWorker({ queue: "often" });
    worker.task("work", async (task) => {
        await sleep(3_500);
        return task.attempt;
    });
    void worker.run();
    // The lease is a minute, but the task's heartbeat makes it shorter.
    assert.equal(await result(await start("often", "work", { heartbeat: "1500 ms" })), 1);
    await worker.stop();
});

test("details of a heartbeat are there for the next attempt", async () => {
    const worker = newWorker({ queue: "details" });
    worker.task("work", async (task) => {
        if (task.attempt > 1) {
            return task.heartbeatDetails;
        }
        await task.heartbeat({ page: 1 });
        await task.heartbeat({ page: 2 });
        await task.heartbeat();
        // The server refuses these.
        await assert.rejects(task.heartbeat("\0"), { code: "22P05" });
        throw new TaskFailed("again", { delay: 0 });
    });
    void worker.run();
    assert.deepEqual(await result(await start("details")), { page: 2 });
    await worker.stop();
});

test("a cancelled call aborts the signal, and nothing is reported", async () => {
    const begun = gate();
    const ended = gate<unknown>();
    const worker = newWorker({ queue: "cancel", lease: 3_000, concurrency: 1 });
    worker.task("work", async (task) => {
        begun.open();
        try {
            await sleep(30_000, undefined, { signal: task.signal });
        } catch (error) {
            ended.open(task.signal.reason);
            throw error;
        }
    });
    worker.task("next", () => "room again");
    void worker.run();
    const id = await start("cancel");
    await begun.promise;
    await client.cancel(id);
    const reason = await ended.promise;
    assert(reason instanceof TaskCancelled);
    assert.equal(reason.reason, "cancelled");
    assert.equal(await result(await start("cancel", "next")), "room again");
    assert(worker.log.has("given up"));
    assert(!worker.log.has("failed:"));
    await worker.stop();
});

test("a heartbeat throws when the task is to be given up", async () => {
    const begun = gate();
    const caught = gate<unknown>();
    const worker = newWorker({ queue: "beats" });
    worker.task("work", async (task) => {
        begun.open();
        try {
            for (;;) {
                await task.heartbeat();
                await sleep(20);
            }
        } catch (error) {
            caught.open(error);
            throw error;
        }
    });
    void worker.run();
    const id = await start("beats");
    await begun.promise;
    await client.cancel(id);
    assert(((await caught.promise) as TaskCancelled) instanceof TaskCancelled);
    await worker.stop();
});

test("a lost task is given up; its late result is dropped", async () => {
    const reasons: unknown[] = [];
    const begun = gate<string>();
    const worker = newWorker({ queue: "lost", lease: 3_000 });
    worker.task("work", async (task) => {
        if (task.attempt === 1) {
            begun.open((task as Task & { token: string }).token);
            await sleep(30_000, undefined, { signal: task.signal }).catch(() => reasons.push(task.signal.reason));
            return "late";
        }
        return "in time";
    });
    void worker.run();
    const id = await start("lost");
    // Somebody ends the attempt behind the worker's back.
    await pool.query("SELECT wf_fail($1, 'gone', delay => '0 s')", [await begun.promise]);
    assert.equal(await result(id), "in time");
    await eventually("it is told", () => reasons.length === 1);
    assert.equal((reasons[0] as TaskCancelled).reason, "lost");
    await eventually("it is dropped", () => worker.log.has("given up"));
    await worker.stop();
});

test("a result that comes too late is dropped with a line in the log", async () => {
    const worker = newWorker({ queue: "late" });
    worker.task("work", async (task) => {
        if (task.attempt === 1) {
            await pool.query("SELECT wf_fail($1, 'gone', delay => '0 s')", [(task as Task & { token: string }).token]);
        }
        return task.attempt;
    });
    void worker.run();
    assert.equal(await result(await start("late")), 2);
    await eventually("it is dropped", () => worker.log.has("its result comes too late"));
    await worker.stop();
});

test("the deadline aborts the signal", async () => {
    const reasons: unknown[] = [];
    const worker = newWorker({ queue: "deadline" });
    worker.task("work", async (task) => {
        await sleep(30_000, undefined, { signal: task.signal }).catch(() => reasons.push(task.signal.reason));
        task.signal.throwIfAborted();
    });
    void worker.run();
    const before = Date.now();
    await assert.rejects(result(await start("deadline", "work", { timeout: "300 ms", retry: { max_attempts: 1 } })), StepTimeout);
    assert(Date.now() - before < 10_000);
    await eventually("it is told", () => (reasons[0] as TaskCancelled | undefined)?.reason === "deadline");
    await worker.stop();
});

test("completed in the handler's own transaction: with its writes or not at all", async () => {
    await pool.query("CREATE TABLE sent (attempt integer)");
    const worker = newWorker({ queue: "own" });
    worker.task("work", async (task) => {
        const connection = await pool.connect();
        try {
            await connection.query("BEGIN");
            await connection.query("INSERT INTO sent VALUES ($1)", [task.attempt]);
            assert.equal(await task.complete(connection, { attempt: task.attempt }), true);
            if (task.attempt === 1) {
                await connection.query("ROLLBACK");
                throw new TaskFailed("rolled back", { delay: 0 });
            }
            await connection.query("COMMIT");
            // Does not count, not even as what cannot be written.
            return 1n;
        } finally {
            connection.release();
        }
    });
    void worker.run();
    assert.deepEqual(await result(await start("own")), { attempt: 2 });
    assert.deepEqual((await pool.query("SELECT attempt FROM sent")).rows, [{ attempt: 2 }]);
    await worker.stop();
    assert(!worker.log.has("dropped"));
});

test("completing what is lost throws TaskLost", async () => {
    const worker = newWorker({ queue: "own lost" });
    worker.task("work", async (task) => {
        if (task.attempt === 1) {
            await pool.query("SELECT wf_fail($1, 'gone', delay => '0 s')", [(task as Task & { token: string }).token]);
            await assert.rejects(task.complete(pool, 1), TaskLost);
        }
        return task.attempt;
    });
    void worker.run();
    assert.equal(await result(await start("own lost")), 2);
    await worker.stop();
});

test("stop lets tasks end, and claims no more", async () => {
    const begun = gate();
    const go = gate();
    const worker = newWorker({ queue: "stop", concurrency: 1 });
    worker.task("work", async () => {
        begun.open();
        await go.promise;
        return "finished";
    });
    const run = worker.run();
    const id = await start("stop");
    await begun.promise;
    const stopped = worker.stop({ graceMs: 20_000 });
    const next = await start("stop");
    await eventually("the next is in the queue", async () => (await taskOf(next)) !== undefined);
    go.open();
    await stopped;
    await run;
    assert.equal(await result(id), "finished");
    assert.equal((await taskOf(next))["status"], "waiting");
    await client.cancel(next);
});

test("stop hands back what does not end in time, and another takes it at once", async () => {
    const begun = gate();
    const reason = gate<unknown>();
    const forever = new Promise(() => {});
    const slow = newWorker({ queue: "grace", name: "slow" });
    slow.task("work", async (task) => {
        begun.open();
        task.signal.addEventListener("abort", () => reason.open(task.signal.reason));
        await forever;
        return "not wanted";
    });
    const run = slow.run();
    const id = await start("grace", "work", { retry: { max_attempts: 1 } });
    await begun.promise;
    const before = Date.now();
    await slow.stop({ graceMs: 100 });
    await run;
    assert(Date.now() - before < 5_000);
    assert.equal(((await reason.promise) as TaskCancelled).reason, "stopped");
    assert.equal((await taskOf(id))["error"], 'worker "slow" was stopped');
    const other = newWorker({ queue: "grace" }).task("work", (task) => task.attempt);
    void other.run();
    assert.equal(await result(id), 1);
    await other.stop();
});

test("what a handler returns when the time of grace is over counts", async () => {
    const begun = gate();
    const worker = newWorker({ queue: "last", graceMs: 0 });
    worker.task("work", async (task) => {
        begun.open();
        await sleep(60_000, undefined, { signal: task.signal }).catch(() => {});
        return "as far as I came";
    });
    void worker.run();
    const id = await start("last");
    await begun.promise;
    await worker.stop();
    assert.equal(await result(id), "as far as I came");
});

test("stop, called again, waits no longer", async () => {
    const begun = gate();
    const worker = newWorker({ queue: "twice", graceMs: 60_000 });
    worker.task("work", async (task) => {
        begun.open();
        await sleep(60_000, undefined, { signal: task.signal });
    });
    void worker.run();
    const id = await start("twice");
    await begun.promise;
    const before = Date.now();
    const first = worker.stop();
    await worker.stop();
    await first;
    assert(Date.now() - before < 5_000);
    assert.equal((await taskOf(id))["status"], "waiting");
    await client.cancel(id);
});

test("stop does not wait for a server that does not answer any more", async () => {
    // A network that swallows everything, from some time on.
    let swallows = false;
    const proxy = createServer((client) => {
        const server = connect(`${process.env["PGHOST"]}/.s.PGSQL.5432`);
        client.on("data", (data) => swallows || server.write(data)).on("error", () => {});
        server.on("data", (data) => swallows || client.write(data)).on("error", () => {});
        client.on("close", () => server.destroy());
    }).listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const { port } = proxy.address() as AddressInfo;
    const begun = gate();
    const worker = newWorker({ queue: "swallowed", connection: { host: "127.0.0.1", port } });
    worker.task("work", async (task) => {
        begun.open();
        await sleep(60_000, undefined, { signal: task.signal });
    });
    const run = worker.run();
    const id = await start("swallowed");
    await begun.promise;
    await sleep(100);
    swallows = true;
    const before = Date.now();
    await worker.stop({ graceMs: 0 });
    await run;
    assert(Date.now() - before < 20_000, `${Date.now() - before} ms`);
    proxy.close();
    await client.cancel(id);
});

test("results that come together go together", async () => {
    const all = gate();
    let begun = 0;
    const worker = newWorker({ queue: "batch", concurrency: 50 });
    worker.task("work", async () => {
        if (++begun === 50) {
            all.open();
        }
        await all.promise;
    });
    void worker.run();
    const id = await client.start("many_tasks", { queue: "batch", tasks: 50 });
    await result(id);
    const { rows } = await pool.query("SELECT count(DISTINCT finished_at)::int AS times, count(*)::int AS n FROM wf.tasks WHERE id = $1", [id]);
    const { rows: xids } = await pool.query("SELECT count(DISTINCT xmin::text)::int AS n FROM wf_internal.tasks WHERE run_id = (SELECT run_id FROM wf.workflows WHERE id = $1)", [id]);
    assert.equal(rows[0].n, 50);
    assert.equal(xids[0].n, 1, "one transaction has completed all");
    await worker.stop();
});

test("wrong use", async () => {
    assert.throws(() => new Worker({ queue: [] }), TypeError);
    assert.throws(() => new Worker({ queue: "x", concurrency: 0 }), RangeError);
    const worker = newWorker({ queue: "wrong" });
    assert.throws(() => worker.run(), /no task has a handler/);
    worker.task("x", () => {});
    assert.throws(() => worker.task("x", () => {}), /handler already/);
    for (const concurrency of [0, 1.5, Number.NaN, 10_001]) {
        worker.concurrency = concurrency;
        assert.throws(() => worker.run(), RangeError);
    }
    worker.concurrency = 1;
    void worker.run();
    assert.throws(() => worker.run(), /runs once/);
    await worker.stop();
});

test("run fails when the server refuses", async () => {
    const refused = async (options: object, code: string) => {
        const worker = newWorker({ queue: "x", log: new Log(), ...options }).task("x", () => {});
        await assert.rejects(worker.run(), { code });
        await worker.stop();
    };
    await refused({ lease: "soon" }, "22007");
    await refused({ lease: "-1 s" }, "22023");
    await refused({ lease: "-1 s", wait: "poll" }, "22023");
    await refused({ connection: { database: "no such database" } }, "3D000");
    await refused({ connection: { database: "template1" } }, "42883");
    await refused({ connection: { user: "no such role" } }, "28000");
    const url = `postgresql://nobody@/ts_worker?host=${encodeURIComponent(process.env["PGHOST"] ?? "")}`;
    await refused({ connectionString: url, connection: { application_name: "a" } }, "28000");
});
