// How a connection is described.

import type { ConnectionOptions as TlsOptions } from "node:tls";

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
