import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

describe("a command that gives up", () => {
  let root: string;
  let node: ProcessNode;
  const blixard = (...args: string[]) => {
    const env = { XDG_DATA_HOME: join(root, "home"), XDG_CONFIG_HOME: join(root, "home") };
    return runBinary([...args, "--data-dir", join(root, "1")], { env });
  };

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "blixard-early-"));
    const flags = ["--vm-driver", "fake"];
    node = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir: join(root, "1"), flags });
  });

  afterAll(async () => {
    await node?.stop();
    await rm(root, { recursive: true, force: true });
  });

  // 1 ms ends before the answer, the others while the VM starts, or after it runs.
  it.each(["1ms", "40ms", "120ms"])(
    "says that its change may have happened, and again matches it: %s",
    async (time) => {
      const create = ["vm", "create", `web-${time}`, "--image", "demo", "--memory", "64M"];
      const first = await blixard(...create, "--timeout", time, "-o", "json");
      if (first.code !== 0) {
        expect(first.code).toBe(124);
        const line = first.stderr.trimEnd().split("\n").at(-1) ?? "";
        expect(JSON.parse(line)).toMatchObject({
          error: {
            code: "DEADLINE_EXCEEDED",
            outcome: "unknown",
            hint: expect.stringMatching(/blixard vm get web-.*same command again/),
          },
        });
        expect(await blixard(...create)).toMatchObject({ code: 0, stdout: expect.stringContaining("Running") });
      }
      // That one saw its end: a third is a second VM of the same name.
      expect(await blixard(...create)).toMatchObject({ code: 5, stderr: expect.stringContaining("ALREADY_EXISTS") });
    },
  );

  it.each([
    ["a swap", ["kv", "cas", "swapped", "--absent", "--to", "x"]],
    ["a removal", ["image", "remove", "demo-copy", "--yes"]],
    ["a write at an index", ["kv", "put", "first", "x", "--if-match", "0"]],
  ])("matches what it did: %s", async (_what, command) => {
    if (command[0] === "image") {
      const { items } = (await call("GET", "/v1/images")) as { items: { name: string }[] };
      const {
        createdUnixMs: _,
        builtin: __,
        ...demo
      } = items.find(({ name }) => name === "demo") as never as {
        createdUnixMs: number;
        builtin: boolean;
      };
      await call("POST", "/v1/images", { ...demo, name: "demo-copy", sources: [1] });
    }
    const first = await blixard(...command, "--timeout", "1ms");
    expect(first).toMatchObject({ code: 124, stderr: expect.stringMatching(/\noutcome: .*\nhint: .*again/) });
    expect((await blixard(...command)).code).toBe(0);
    expect([3, 5]).toContain((await blixard(...command)).code);
  });

  async function call(method: string, path: string, body?: object): Promise<unknown> {
    const answer = await fetch(`${node.ready.http}${path}`, {
      method,
      headers: { authorization: `Bearer ${await node.token()}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    expect(answer.ok).toBe(true);
    return await answer.json();
  }
});
