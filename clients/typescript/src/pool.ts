// Connections of our own. Apart from connection.ts, so that the published declarations do not need those of pg.

import pg from "pg";

import type { ConnectionOptions } from "./connection.js";

/** What `pg` is to be told: ours where the caller has said nothing. */
export function connectionConfig(target: string | ConnectionOptions, application: string): pg.ClientConfig {
    const options = typeof target === "string" ? { connectionString: target } : target;
    return {
        fallback_application_name: application,
        connectionTimeoutMillis: 10_000,
        keepAlive: true,
        keepAliveInitialDelayMillis: 30_000,
        ...options,
    } as pg.ClientConfig;
}

/** A pool whose idle connections may break without anybody having to listen. */
export function newPool(config: pg.PoolConfig): pg.Pool {
    const pool = new pg.Pool(config);
    // The next query gets another connection, or the error.
    pool.on("error", () => {});
    return pool;
}
