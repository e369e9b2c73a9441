// What is published.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const dist = new URL("../dist/", import.meta.url);

test("the declarations need no package but those of Node.js", () => {
    const seen = new Set<string>();
    const packages = new Set<string>();
    const read = (file: string) => {
        seen.add(file);
        for (const [, from = ""] of readFileSync(new URL(file, dist), "utf8").matchAll(/(?:from|import) "(.*)"/g)) {
            const local = from.startsWith("./") ? from.slice(2).replace(/\.js$/, ".d.ts") : undefined;
            if (local === undefined) {
                packages.add(from.split(":")[0] ?? from);
            } else if (!seen.has(local)) {
                read(local);
            }
        }
    };
    read("index.d.ts");
    assert(seen.has("worker.d.ts"));
    assert.deepEqual([...packages], ["node"]);
});
