// What a worker says of itself.

import { inspect } from "node:util";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export interface Logger {
    debug(message: string): void;
    info(message: string): void;
    warn(message: string): void;
    error(message: string): void;
}

const LEVELS: LogLevel[] = ["debug", "info", "warn", "error", "silent"];

/** Lines on standard error, of this level and above. */
export function stderrLogger(level: LogLevel): Logger {
    const at = (of: LogLevel) => (message: string) => {
        if (LEVELS.indexOf(of) >= LEVELS.indexOf(level)) {
            process.stderr.write(`${new Date().toISOString()} ${of.toUpperCase()} ${message}\n`);
        }
    };
    return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

export function isLogLevel(text: string): text is LogLevel {
    return (LEVELS as string[]).includes(text);
}

/** What was thrown, which need not be an error. */
export function describe(error: unknown): string {
    if (error instanceof Error) {
        // One that stands for several tries to connect has no message of its own.
        return error.message || String((error as { code?: unknown }).code ?? error.name);
    }
    return typeof error === "string" ? error : inspect(error);
}
