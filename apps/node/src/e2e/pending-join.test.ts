import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

let home: string;
let first: ProcessNode;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "blixard-approve-"));
  first = await ProcessNode.start({
    binary: builtBinary(),
    id: 1,
    dataDir: join(home, "node-1"),
    flags: ["--join-policy", "approve", "--vm-driver", "fake"],
  });
});

afterAll(async () => {
  await first?.stop();
  await rm(home, { recursive: true, force: true });
});

const cli = (...args: string[]) => runBinary([...args, "--data-dir", first.dataDir]);

describe("a machine that joins by address where an operator decides", () => {
  it("shows its key and what to run, waits, and is in when it was accepted", async () => {
    const args = ["node", "--id", "2", "--data-dir", join(home, "node-2"), "--join", first.ready.bind];
    const joiner = spawn(process.execPath, [builtBinary(), ...args, "--bind", "127.0.0.1:0", "--http", "off"], {
      env: { ...process.env, NODE_OPTIONS: "" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    try {
      const ready = once(createInterface({ input: joiner.stdout }), "line");
      let key = "";
      for await (const line of createInterface({ input: joiner.stderr })) {
        key = /blixard cluster add ([0-9a-f]{64})$/.exec(line)?.[1] ?? key;
        if (key !== "") break;
      }
      const list = await cli("cluster", "add", "-o", "json");
      expect(JSON.parse(list.stdout)).toMatchObject([{ nodeId: 2, endpointId: key }]);
      expect(await cli("cluster", "add", "2")).toMatchObject({ code: 64, stderr: expect.stringContaining("--yes") });
      expect(await cli("cluster", "add", "f".repeat(64))).toMatchObject({ code: 3 });
      expect(await cli("cluster", "add", key.slice(0, 16), "--role", "worker", "--yes")).toMatchObject({ code: 0 });
      const [line] = (await ready) as [string];
      expect(JSON.parse(line)).toMatchObject({ event: "ready", nodeId: 2, endpointId: key });
      const nodes = JSON.parse((await cli("nodes", "list", "-o", "json")).stdout) as unknown;
      expect(nodes).toMatchObject([
        { id: 1, role: "voter" },
        { id: 2, role: "worker" },
      ]);
    } finally {
      joiner.kill("SIGTERM");
      await once(joiner, "close");
    }
  });
});
