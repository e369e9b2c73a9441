#!/usr/bin/env node
// pg-workflow worker MODULE: runs the worker that a module exports, until SIGTERM or SIGINT.

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { describe, isLogLevel, type LogLevel, stderrLogger } from "./log.js";
import type { Worker } from "./worker.js";

const USAGE = `usage: pg-workflow worker MODULE [--concurrency N] [--grace SECONDS] [--log-level LEVEL]

Runs the worker that MODULE exports as "worker" or by default, such as ./worker.js.

  --concurrency N     tasks at a time
  --grace SECONDS     what tasks may take after SIGTERM or SIGINT; then they are handed back. Once more: at once.
  --log-level LEVEL   debug, info, warn, error or silent
`;

class UsageError extends Error {}

interface Arguments {
    module: string;
    concurrency: number | undefined;
    graceMs: number | undefined;
    logLevel: LogLevel | undefined;
}

function number(name: string, text: string | undefined, least: number): number | undefined {
    const value = text === undefined ? undefined : Number(text);
    if (value !== undefined && !(value >= least)) {
        throw new UsageError(`--${name} must be a number, ${least} or more`);
    }
    return value;
}

/** The arguments; undefined if only help was asked for. */
function parse(args: string[]): Arguments | undefined {
    const text = { type: "string" } as const;
    const options = { concurrency: text, grace: text, "log-level": text, help: { type: "boolean", short: "h" } } as const;
    let parsed: ReturnType<typeof parseArgs<{ options: typeof options; allowPositionals: true }>>;
    try {
        parsed = parseArgs({ args, options, allowPositionals: true });
    } catch (error) {
        throw new UsageError(describe(error));
    }
    const { values, positionals } = parsed;
    if (values.help) {
        return undefined;
    }
    const [command, module, ...rest] = positionals;
    if (command !== "worker" || module === undefined || rest.length > 0) {
        throw new UsageError("say which worker is to run");
    }
    const logLevel = values["log-level"];
    if (logLevel !== undefined && !isLogLevel(logLevel)) {
        throw new UsageError(`unknown log level "${logLevel}"`);
    }
    const grace = number("grace", values.grace, 0);
    return {
        module,
        concurrency: number("concurrency", values.concurrency, 1),
        graceMs: grace === undefined ? undefined : grace * 1000,
        logLevel,
    };
}

/** A path, or the name of a package. */
async function load(module: string): Promise<Worker> {
    const isPath = /^[./]|\.[cm]?js$/.test(module);
    const exports = (await import(isPath ? pathToFileURL(resolve(module)).href : module)) as Record<string, unknown>;
    // Its class may be of another copy of this package.
    const isWorker = (value: unknown) => typeof (value as Worker | undefined)?.run === "function";
    const worker = [exports["worker"], exports["default"]].find(isWorker);
    if (worker === undefined) {
        throw new UsageError(`${module} exports no worker, neither as "worker" nor by default`);
    }
    return worker as Worker;
}

async function main(): Promise<void> {
    const args = parse(process.argv.slice(2));
    if (args === undefined) {
        process.stdout.write(USAGE);
        return;
    }
    const worker = await load(args.module);
    worker.concurrency = args.concurrency ?? worker.concurrency;
    worker.graceMs = args.graceMs ?? worker.graceMs;
    worker.log = args.logLevel === undefined ? worker.log : stderrLogger(args.logLevel);
    const stop = () => void worker.stop();
    process.on("SIGTERM", stop).on("SIGINT", stop);
    await worker.run();
}

main().then(
    // What a handler has left open, or one that does not listen to its signal, shall not keep the process.
    () => process.exit(0),
    (error: unknown) => {
        const isUsage = error instanceof UsageError;
        process.stderr.write(`pg-workflow: ${describe(error)}\n${isUsage ? `\n${USAGE}` : ""}`);
        process.exit(isUsage ? 2 : 1);
    },
);
