// What a worker says of itself.

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

export function describe(error: unknown): string {
    // One that stands for several tries to connect has no message of its own.
    return error instanceof Error ? error.message || String((error as { code?: unknown }).code ?? error.name) : String(error);
}
