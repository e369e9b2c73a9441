// Connections of our own.

import type { ConnectionOptions as TlsOptions } from "node:tls";
import pg from "pg";

/** Where the server is; what is not given comes from the environment (`PGHOST`, `PGUSER` ...). More of `pg`'s options may be given. */
export interface ConnectionOptions {
    connectionString?: string;
    host?: string;
    port?: number;
    database?: string;
    user?: string;
    password?: string | (() => string | Promise<string>);
    ssl?: boolean | TlsOptions;
    application_name?: string;
    [option: string]: unknown;
}

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
