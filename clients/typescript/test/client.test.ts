import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";

import * as workflow from "pg-workflow";
import { database, eventually } from "./setup.js";

const pool = await database("ts_client");
const client = new workflow.Client(pool);

test("start, and the result", async () => {
    const id = await client.start("echo", { a: [1, "x", null, true] });
    assert.deepEqual(await client.result(id, { wait: "10 s" }), { a: [1, "x", null, true] });
    assert.equal(await client.status(id), "completed");
});

test("input is {} when none is given; null and other JSON go as they are", async () => {
    for (const [input, result] of [
        [undefined, {}],
        [null, null],
        ["text", "text"],
        [[], []],
    ]) {
        const id = await client.start("echo", input);
        assert.deepEqual(await client.result(id, { wait: 10_000 }), result);
    }
});

test("a result of SQL's NULL is undefined", async () => {
    assert.equal(await client.result(await client.start("nothing"), { wait: "10 s" }), undefined);
});

test("the id is the caller's, and starting it again is starting once", async () => {
    assert.equal(await client.start("echo", {}, { id: "mine" }), "mine");
    assert.equal(await client.start("echo", {}, { id: "mine" }), "mine");
    assert.equal((await client.list({ idPrefix: "mine" })).length, 1);
});

test("onConflict", async () => {
    await client.start("echo", { n: 1 }, { id: "conflict" });
    await assert.rejects(client.start("echo", { n: 2 }, { id: "conflict" }), workflow.AlreadyExists);
    await assert.rejects(client.start("echo", { n: 1 }, { id: "conflict", onConflict: "fail" }), workflow.AlreadyExists);
    await client.result("conflict", { wait: "10 s" });
    await client.start("echo", { n: 3 }, { id: "conflict", onConflict: "start_new" });
    assert.deepEqual(await client.result("conflict", { wait: "10 s" }), { n: 3 });
    assert.deepEqual(
        (await client.list({ idPrefix: "conflict" })).map((run) => run.run),
        [2, 1],
    );
});

test("startAt, delay, priority, timeout and startTimeout", async () => {
    const soon = new Date(Date.now() + 3_600_000);
    await client.start("echo", {}, { id: "at", startAt: soon, priority: 7, timeout: "1 day", startTimeout: 7_200_000 });
    const [at] = await client.list({ idPrefix: "at" });
    assert(at);
    assert.equal(at.status, "pending");
    assert.match(at.waitingFor ?? "", /^start at/);
    assert.equal(at.priority, 7);
    assert.equal(at.deadline?.getTime(), soon.getTime() + 86_400_000);
    assert.equal(at.startBy?.getTime(), soon.getTime() + 7_200_000);
    await client.start("echo", {}, { id: "later", delay: 3_600_000 });
    assert.equal(await client.status("later"), "pending");
    await client.start("echo", {}, { id: "now", delay: 1 });
    await client.result("now", { wait: "10 s" });
});

test("queue, key and dedup", async () => {
    await pool.query("SELECT wf_queue('few', max_running => 1, max_backlog => 2)");
    const options = { queue: "few", key: "ann" };
    await client.start("asks", {}, { ...options, id: "few-1" });
    await client.waitValue("few-1", "stage");
    await client.start("echo", 2, { ...options, id: "few-2", dedup: "d" });
    assert.equal(await client.start("echo", 2, { ...options, dedup: "d" }), "few-2");
    await client.start("echo", 3, { ...options, id: "few-3" });
    await assert.rejects(client.start("echo", 4, options), workflow.QueueFull);
    assert.equal(await client.status("few-2"), "pending");
    await client.signal("few-1", "answer");
    assert.equal(await client.result("few-2", { wait: "10 s" }), 2);
});

test("signal, with and without a key", async () => {
    await client.start("asks", {}, { id: "asks" });
    assert.equal(await client.signal("asks", "other", 1, { key: "k" }), true);
    assert.equal(await client.signal("asks", "other", 2, { key: "k" }), false);
    await client.signal("asks", "answer", { ok: true });
    assert.deepEqual(await client.result("asks", { wait: "10 s" }), { ok: true });
    await assert.rejects(client.signal("asks", "answer"), workflow.WrongState);
});

test("cancel", async () => {
    await client.start("asks", {}, { id: "cancelled" });
    assert.equal(await client.cancel("cancelled", { reason: "changed my mind" }), true);
    await assert.rejects(client.result("cancelled", { wait: "10 s" }), (error: unknown) => {
        assert(error instanceof workflow.WorkflowCancelled);
        assert.equal(error.detail, "Reason: changed my mind.");
        return true;
    });
    assert.equal(await client.cancel("cancelled"), false);
});

test("get, waitValue and readStream", async () => {
    await client.start("asks", {}, { id: "values" });
    assert.equal(await client.waitValue("values", "stage"), "asking");
    assert.equal(await client.waitValue("values", "stage", { known: "asking", wait: 50 }), undefined);
    assert.equal(await client.get("values", "stage"), "asking");
    assert.equal(await client.get("values", "no such value"), undefined);
    assert.equal(((await client.get("values")) as { id: string }).id, "values");
    const items = await client.readStream("values", "log", { wait: "10 s" });
    assert.deepEqual(
        items.map((item) => item.value),
        [1, { n: 2 }],
    );
    assert(items[0] && Math.abs(items[0].at.getTime() - Date.now()) < 60_000);
    assert.equal((await client.readStream("values", "log", { after: items[0].seq })).length, 1);
});

test("pause, resume and retry", async () => {
    await client.start("asks", {}, { id: "held" });
    await client.waitValue("held", "stage");
    assert.equal(await client.pause("held", { reason: "a look" }), true);
    assert.equal(await client.pause("held"), false);
    assert.equal(await client.status("held"), "paused");
    assert.equal(await client.resume("held"), true);
    assert.equal(await client.resume("held"), false);
    await client.cancel("held");
    await assert.rejects(client.result("held", { wait: "10 s" }), workflow.WorkflowCancelled);
    await client.retry("held", { reason: "after all" });
    await client.signal("held", "answer", 1);
    assert.equal(await client.result("held", { wait: "10 s" }), 1);
});

test("list: filters, order, pages", async () => {
    const ids = ["list-1", "list-2", "list-3"];
    for (const id of ids) {
        await client.start("echo", { id }, { id });
        await client.result(id, { wait: "10 s" });
    }
    await client.start("asks", {}, { id: "list-4" });
    await client.waitValue("list-4", "stage");
    const names = async (options: workflow.ListOptions) =>
        (await client.list({ idPrefix: "list-", ...options })).map((run) => run.id);
    assert.deepEqual(await names({}), ["list-4", "list-3", "list-2", "list-1"]);
    assert.deepEqual(await names({ workflow: "asks" }), ["list-4"]);
    assert.deepEqual(await names({ status: ["completed", "failed"] }), ["list-3", "list-2", "list-1"]);
    await eventually("it waits", async () => (await names({ status: "waiting" })).length === 1);
    const [first] = await client.list({ idPrefix: "list-", status: "completed", limit: 1 });
    assert(first);
    assert.deepEqual(first.result, { id: "list-3" });
    assert(first.createdAt instanceof Date && first.finishedAt && first.finishedAt >= first.createdAt);
    assert.equal(first.waitingFor, null);
    assert.deepEqual(await names({ before: first.runId }), ["list-2", "list-1"]);
});

test("in a transaction of the caller's: with it or not at all", async () => {
    const connection = await pool.connect();
    await connection.query("BEGIN");
    await client.start("echo", {}, { id: "rolled back", connection });
    await connection.query("ROLLBACK");
    await assert.rejects(client.status("rolled back"), workflow.NotFound);

    await connection.query("BEGIN");
    await client.start("asks", {}, { id: "committed", connection });
    await client.signal("committed", "answer", 1, { connection });
    assert.equal(await client.status("committed", { connection }), "pending");
    await assert.rejects(client.status("committed"), workflow.NotFound);
    await connection.query("COMMIT");
    connection.release();
    assert.equal(await client.result("committed", { wait: "10 s" }), 1);
});

test("on a single connection", async () => {
    const connection = new pg.Client();
    await connection.connect();
    const own = new workflow.Client(connection);
    const id = await own.start("echo", 5);
    assert.equal(await own.result(id, { wait: "10 s" }), 5);
    await own.close();
    assert.equal((await connection.query("SELECT 1 AS one")).rows[0].one, 1);
    await connection.end();
});

test("by connections of its own, which close() closes", async () => {
    const own = new workflow.Client({ application_name: "own", database: "ts_client" });
    const id = await own.start("echo", 6);
    assert.equal(await own.result(id, { wait: 10_000 }), 6);
    const open = async () =>
        (await pool.query("SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'own'")).rows[0].n;
    assert.equal(await open(), 1);
    await own.close();
    await eventually("it is closed", async () => (await open()) === 0);
    const url = new workflow.Client(`postgresql:///ts_client?host=${encodeURIComponent(process.env["PGHOST"] ?? "")}`);
    assert.equal(await url.status(id), "completed");
    await url.close();
});

test("the program's own parsers of types do not matter", async () => {
    const connection = new pg.Client({ types: { getTypeParser: () => () => "parsed by somebody" } as never });
    await connection.connect();
    const own = new workflow.Client(connection);
    const id = await own.start("echo", { x: 1 });
    assert.deepEqual(await own.result(id, { wait: "10 s" }), { x: 1 });
    assert.equal((await own.list({ limit: 1 }))[0]?.id, id);
    await connection.end();
});

test("result: not at its end, in no time and after a while", async () => {
    await client.start("asks", {}, { id: "open" });
    await assert.rejects(client.result("open"), workflow.NotEnded);
    const before = Date.now();
    await assert.rejects(client.result("open", { wait: 300 }), (error: unknown) => {
        assert(error instanceof workflow.NotEnded && error instanceof workflow.WrongState);
        assert.equal(error.sqlstate, "55000");
        assert.match(error.hint ?? "", /wf_result/);
        return true;
    });
    assert(Date.now() - before >= 300);
});

test("result: longer than one wait of the server's", async () => {
    await client.start("asks", {}, { id: "long" });
    const result = client.result("long", { wait: "1 minute" });
    // 5 s are one.
    setTimeout(() => void client.signal("long", "answer", "late"), 5_500);
    assert.equal(await result, "late");
});

test("result: the workflow's own error, also if it looks like one of ours", async () => {
    for (const sqlstate of ["P0001", "P0042", "55000", "42704", "42501", "40001"]) {
        const id = await client.start("fails", { sqlstate, message: "my own" });
        await assert.rejects(client.result(id, { wait: "10 s" }), (error: unknown) => {
            assert(error instanceof workflow.WorkflowFailed, sqlstate);
            assert.equal(error.constructor, workflow.WorkflowFailed);
            assert.deepEqual([error.sqlstate, error.message, error.detail], [sqlstate, "my own", "the detail"]);
            return true;
        });
    }
});

test("errors as classes", async () => {
    const { NotFound, UnknownWorkflow, InvalidArgument, TooLarge, WorkflowError, WorkflowTimeout } = workflow;
    await assert.rejects(client.status("no such id"), NotFound);
    await assert.rejects(client.result("no such id"), NotFound);
    await assert.rejects(client.start("no_such_workflow"), UnknownWorkflow);
    await assert.rejects(client.start("echo", {}, { priority: 5000 }), InvalidArgument);
    await assert.rejects(client.start("echo", "x".repeat(200_000)), TooLarge);
    await assert.rejects(client.status("no such id"), (error: unknown) => {
        assert(error instanceof WorkflowError);
        assert.equal(error.name, "NotFound");
        assert.equal(error.message, 'workflow instance "no such id" does not exist');
        assert.equal((error.cause as { code: string }).code, "42704");
        return true;
    });
    await client.start("asks", {}, { id: "slow", timeout: 50 });
    await assert.rejects(client.result("slow", { wait: "10 s" }), WorkflowTimeout);
    // What is not ours stays what it is.
    await assert.rejects(client.list({ before: "no uuid" }), { code: "22P02" });
    await assert.rejects(client.start("echo", 1n), TypeError);
    await assert.rejects(client.start("echo", () => 1), TypeError);
    await assert.rejects(client.start("echo", {}, { delay: Number.NaN }), RangeError);
});

test("another role's instance", async () => {
    await client.start("asks", {}, { id: "not yours" });
    await pool.query("DROP ROLE IF EXISTS ts_stranger; CREATE ROLE ts_stranger LOGIN");
    const stranger = new workflow.Client({ user: "ts_stranger" });
    // It is not told that there is one.
    await assert.rejects(stranger.signal("not yours", "answer"), workflow.NotFound);
    await assert.rejects(stranger.result("not yours"), workflow.NotFound);
    assert.deepEqual(await stranger.list(), []);
    await pool.query("SELECT wf_grant('ts_stranger', 'view')");
    await assert.rejects(stranger.signal("not yours", "answer"), workflow.PermissionDenied);
    await pool.query("SELECT wf_revoke('ts_stranger', 'view')");
    await stranger.close();
    await pool.query("DROP ROLE ts_stranger");
});
