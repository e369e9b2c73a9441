// Through PgBouncer in transaction mode, where it is installed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { once } from "node:events";
import { Client, type Worker } from "pg-workflow";

import { database, eventually, newWorker } from "./setup.js";

const pgbouncer = process.env["PGBOUNCER"] ?? "/usr/sbin/pgbouncer";

test("workers and client", { skip: !existsSync(pgbouncer) && "there is no pgbouncer" }, async () => {
    await database("ts_pooled");
    const host = process.env["PGHOST"] ?? "";
    const free = createServer().listen(0, "127.0.0.1");
    await once(free, "listening");
    const { port } = free.address() as AddressInfo;
    free.close();

    // Fewer connections than a worker has, so that they do change.
    const folder = mkdtempSync(join(tmpdir(), "pg-workflow-"));
    const config = `[databases]
ts_pooled = host=${host} port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
`;
    writeFileSync(join(folder, "pgbouncer.ini"), config);
    chmodSync(folder, 0o755);
    // It runs as the owner of the server's socket, and never as root.
    const user = process.getuid?.() === 0 ? { uid: statSync(host).uid, gid: statSync(host).gid } : {};
    const bouncer = spawn(pgbouncer, ["-q", join(folder, "pgbouncer.ini")], { ...user, stdio: "inherit" });
    const connection = { host: "127.0.0.1", port, user: "postgres", database: "ts_pooled" };
    const client = new Client(connection);
    const workers: Worker[] = [];
    try {
        await eventually("it answers", () => client.list().then(() => true, () => false));
        for (let i = 0; i < 3; i++) {
            const worker = newWorker({ queue: "pooled", connection, wait: "poll", pauseMs: 50, lease: "5 s", concurrency: 2 });
            worker.task<number>("count", async (task, number) => {
                await task.heartbeat(number);
                if (number % 5 === 0 && task.attempt === 1) {
                    throw new Error("once more");
                }
                return number;
            });
            void worker.run();
            workers.push(worker);
        }
        const input = { queue: "pooled", task: "count", retry: { first_delay: "10 ms" } };
        const ids = await Promise.all(Array.from({ length: 40 }, (_, number) => client.start("one_task", { ...input, input: number })));
        for (const [number, id] of ids.entries()) {
            assert.equal(await client.result(id, { wait: "20 s" }), number);
        }
    } finally {
        await Promise.all(workers.map((worker) => worker.stop()));
        await client.close();
        bouncer.kill();
        await once(bouncer, "close");
        rmSync(folder, { recursive: true });
    }
});
