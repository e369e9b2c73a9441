// What client and worker share: how a statement is run, and how values travel.

/** A value as JSON can hold it. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A time span: milliseconds, or text that Postgres reads as an interval, such as `"5 minutes"`. */
export type Duration = number | string;

/** What runs a statement: a `Pool`, `Client` or `PoolClient` of `pg`. */
export interface Queryable {
    query(config: Statement): Promise<{ rows: unknown[] }>;
}

/** A statement as `pg` takes it. */
export interface Statement {
    text: string;
    values: unknown[];
    types: { getTypeParser: () => (value: string) => string };
}

// Values are read here, whatever parsers the caller's program has set for itself.
const AS_TEXT = { getTypeParser: () => (value: string) => value };

/** A row: columns as text, or null. */
export type Row = Record<string, string | null>;

/** Runs a statement; columns come back as text. */
export async function query(db: Queryable, text: string, values: unknown[]): Promise<Row[]> {
    const result = await db.query({ text, values, types: AS_TEXT });
    return result.rows as Row[];
}

/** The only column of the only row. */
export async function one(db: Queryable, text: string, values: unknown[]): Promise<string | null> {
    const [row] = await query(db, text, values);
    return row === undefined ? null : (Object.values(row)[0] ?? null);
}

/** A time span as Postgres reads it; null if there is none. */
export function interval(duration: Duration | undefined): string | null {
    if (typeof duration !== "number") {
        return duration ?? null;
    }
    if (!Number.isFinite(duration)) {
        throw new RangeError(`a time span must be finite, not ${duration}`);
    }
    return `${duration} milliseconds`;
}

/** A value as JSON text; null (SQL's) for undefined. Throws a TypeError for what JSON cannot hold. */
export function toJson(value: unknown): string | null {
    if (value === undefined) {
        return null;
    }
    const text: string | undefined = JSON.stringify(value);
    if (text === undefined) {
        throw new TypeError(`a ${typeof value} cannot be written as JSON`);
    }
    return text;
}

/** The value of JSON text; undefined for SQL's null. */
export function fromJson(text: string | null | undefined): Json | undefined {
    return text === null || text === undefined ? undefined : (JSON.parse(text) as Json);
}
