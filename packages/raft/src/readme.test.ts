import { readFile } from "node:fs/promises";
import { afterEach, describe, expect, it } from "@jest/globals";

const { log } = console;

describe("README.md", () => {
  afterEach(() => {
    console.log = log;
  });

  it("shows the example as it is, and the example does what its comments say", async () => {
    const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
    const example = await readFile(new URL("./examples/three-node-store.ts", import.meta.url), "utf8");
    const [, shown] = /```ts\n(import \{ fromUtf8.*?)```/s.exec(readme) ?? [];
    expect(shown).toBe(example);
    expect(example.trimEnd().split("\n").length).toBeLessThanOrEqual(30);
    const lines: unknown[] = [];
    console.log = (line: unknown) => lines.push(line);
    await import("./examples/three-node-store.ts");
    expect(lines).toEqual(["from node 3", "from node 3", "from node 3"]);
  });
});
