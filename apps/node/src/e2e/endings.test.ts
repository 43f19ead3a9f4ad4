import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-endings-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe("the end of a terminal", () => {
  it("ends a node as SIGTERM does", async () => {
    const flags = ["--vm-driver", "fake"];
    const node = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir: join(root, "1"), flags });
    expect(await node.stop("SIGHUP")).toEqual({ code: 0, signal: null });
    expect(node.stderrTail()).toContain("stopping");
  });

  it("ends the nodes of a dev cluster, and removes their data", async () => {
    const args = [builtBinary(), "dev", "--nodes", "1", "--no-vm", "--vm-driver", "fake"];
    const dev = spawn(process.execPath, args, {
      env: { ...process.env, TMPDIR: root },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let shown = "";
    dev.stderr.on("data", (data) => {
      shown += String(data);
    });
    const ended = new Promise((resolve) => dev.once("close", resolve));
    while (!shown.includes("Ctrl-C stops") && dev.exitCode === null) await sleep(systemClock, 100);
    const pid = Number(/process (\d+)/.exec(shown)?.[1]);
    dev.kill("SIGHUP");
    expect(await ended).toBe(0);
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    expect((await readdir(root)).filter((name) => name.startsWith("blixard-dev-"))).toEqual([]);
  });
});

// Only root can become a user that stands in no list.
const asRoot = process.getuid?.() === 0 ? it : it.skip;

describe("a user without a home directory", () => {
  asRoot("calls a node that is named, and is told what is missing else", async () => {
    const run = (...args: string[]) =>
      new Promise<{ code: number | null; stderr: string }>((resolve) => {
        const { HOME: _, XDG_CONFIG_HOME: __, XDG_DATA_HOME: ___, ...env } = process.env;
        const options = { uid: 12_345, gid: 12_345, cwd: "/", env: { ...env, NODE_OPTIONS: "" } };
        const child = spawn(process.execPath, [builtBinary(), ...args], options);
        let stderr = "";
        child.stderr.on("data", (data) => {
          stderr += String(data);
        });
        child.once("close", (code) => resolve({ code, stderr }));
      });
    expect(await run("kv", "get", "a", "--address", "127.0.0.1:9", "--token", "x", "--timeout", "2s")).toMatchObject({
      code: 6,
      stderr: expect.stringContaining("nothing listens there"),
    });
    expect(await run("kv", "get", "a")).toMatchObject({
      code: 6,
      stderr: expect.stringContaining("no node of this user"),
    });
    expect(await run("context", "use", "x")).toMatchObject({ code: 3 });
    expect(await run("node", "--id", "1", "--bind", "127.0.0.1:0")).toMatchObject({
      code: 64,
      stderr: expect.stringContaining("--data-dir"),
    });
  });
});
