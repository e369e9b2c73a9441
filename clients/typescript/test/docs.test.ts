// The code of docs/typescript.md runs, in its order, and does what the page says. test.sh has made one module of it, page.ts,
// so that its types are checked as well. The worker runs from the end of the first block on.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { inspect } from "node:util";
import { Client, WorkflowFailed } from "pg-workflow";

import { database } from "./setup.js";

const page = readFileSync(new URL("../../../docs/typescript.md", import.meta.url), "utf8");

interface Block {
    language: string;
    text: string;
}
const blocks: Block[] = [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```/gm)].map(([, language = "", text = ""]) => ({ language, text }));
const of = (language: string) => blocks.filter((block) => block.language === language).map((block) => block.text);

/** Output that stands behind a block of code. */
const promised = blocks.filter(({ language, text }, i) => {
    return language === "text" && blocks[i - 1]?.language === "ts" && !text.startsWith("pg-workflow");
});

test("the page", async () => {
    const pool = await database("shop");
    for (const sql of of("sql")) {
        await pool.query(sql);
    }
    await pool.query(`CREATE TABLE bookings (account text, amount integer);
        CREATE TABLE customers (address text);
        CREATE FUNCTION call_task(name text, input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
        BEGIN RETURN wf_task(name, 'mail', input, retry => '{"max_attempts": 2}'); END $$`);

    const output: string[] = [];
    const log = console.log;
    console.log = (...words: unknown[]) => void output.push(words.map((word) => (typeof word === "string" ? word : inspect(word))).join(" "));
    const module = await import("./page.js").finally(() => (console.log = log));
    assert(promised.length >= 3);
    for (const { text } of promised) {
        assert(output.includes(text.trim()), `${text} in ${output.join("\n")}`);
    }
    assert(output.includes("to ann@example.com: Welcome!"));

    const client = new Client(pool);
    const done = async (name: string, input: unknown) => client.result(await client.start("call_task", { name, input }), { wait: "20 s" });
    assert.equal(((await done("charge", { amount: 3 })) as { charged: number }).charged, 3);
    assert.deepEqual(await done("book", { account: "a", amount: 5 }), { booked: 5 });
    assert.deepEqual((await pool.query("SELECT * FROM bookings")).rows, [{ account: "a", amount: 5 }]);
    assert.equal(await done("import", [1, 2, 3]), 3);
    assert.equal(await done("render", { frames: 3 }), 3);
    assert.equal(await done("pay", { amount: 200 }), "paid");
    await assert.rejects(done("pay", { amount: -1 }), /RangeError: amount is negative/);
    await assert.rejects(done("pay", { amount: 2000 }), (error: unknown) => {
        assert(error instanceof WorkflowFailed);
        assert.deepEqual([error.sqlstate, error.message, error.detail], ["P0402", "card declined", "limit is 1000"]);
        return true;
    });
    await module.end();
});
