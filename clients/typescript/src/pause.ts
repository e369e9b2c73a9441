// Pauses that end early when there is no point in them any more.

import { setTimeout as sleep } from "node:timers/promises";

/** Waits; returns at once when the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
    try {
        await sleep(ms, undefined, { signal });
    } catch {
        // Aborted.
    }
}

/** Waits for something, but not for longer than so many milliseconds. Never fails. */
export async function within(ms: number, something: Promise<unknown>): Promise<void> {
    const over = new AbortController();
    await Promise.race([something.catch(() => {}), pause(ms, over.signal)]);
    over.abort();
}

/** Longer and longer pauses, of which no two programs take the same. */
export class Backoff {
    static readonly FIRST = 100;
    static readonly LONGEST = 5_000;
    #next = Backoff.FIRST;

    async wait(signal: AbortSignal): Promise<void> {
        const ms = this.#next * (0.5 + Math.random() / 2);
        this.#next = Math.min(this.#next * 2, Backoff.LONGEST);
        await pause(ms, signal);
    }

    reset(): void {
        this.#next = Backoff.FIRST;
    }
}
