import type { OperationRecord } from "@blixard/protocol";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { CliOnNode } from "./testing/cli-on-node.ts";

const id = "0123456789ab";
const running: OperationRecord = {
  ...{ id, kind: "node-drain", nodeId: 2, vms: ["web"], subject: "node 2", actor: { kind: "token", id: "ops" } },
  ...{ state: "running", percent: 40, message: "1 VM moved, 1 left", waiting: [{ vm: "web", why: "no room" }] },
  ...{ startedUnixMs: 1, updatedUnixMs: 2, startedIndex: 3, updatedIndex: 4 },
};

let cli: CliOnNode;
beforeAll(async () => {
  cli = await CliOnNode.start();
});
afterAll(async () => {
  await cli.close();
});
beforeEach(() => {
  cli.service.operation = running;
});

const ended = (fields: Partial<OperationRecord>): void => {
  cli.service.operation = { ...running, updatedIndex: 5, waiting: [], ...fields };
};

describe("a command that waits for an operation", () => {
  it("is detached by Ctrl-C, and says by which id the operation goes on", async () => {
    const interrupt = new AbortController();
    const { code, stderr, stdout } = await cli.waiting(["nodes", "drain", "2", "--yes"], interrupt);
    expect(code).toBe(130);
    expect(stdout).toBe("");
    expect(stderr).toContain("0123456789ab: 40 %, 1 VM moved, 1 left\n  web: no room\n");
    expect(stderr).toContain(`detached: the operation ${id} goes on  [CANCELLED]`);
    expect(stderr).toContain(`blixard operations wait ${id}`);
    expect(stderr).not.toContain("may have happened");
  });

  it("does not wait when it was told so", async () => {
    const { code, stdout, stderr } = await cli.onNode(["nodes", "drain", "2", "--yes", "--detach"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ID +KIND.*\n0123456789ab +node-drain +node 2 +running +40 %/);
    expect(stderr).toContain(`blixard operations wait ${id}`);
  });

  it("ends as the operation has ended", async () => {
    ended({ state: "done", percent: 100 });
    expect(await cli.onNode(["operations", "wait", id])).toMatchObject({ code: 0, stderr: "" });
    expect(await cli.onNode(["nodes", "resume", "2"])).toMatchObject({ code: 0, stdout: "node 2 resumed\n" });
    ended({ state: "done", percent: 100, waiting: running.waiting });
    expect(await cli.onNode(["operations", "wait", id])).toMatchObject({
      code: 8,
      stdout: expect.stringContaining("no room"),
    });
    ended({ state: "failed", error: { code: "VM_DRIVER_FAILED", message: "1 VM failed" } });
    expect(await cli.onNode(["operations", "wait", id])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("1 VM failed"),
    });
    ended({ state: "cancelled", message: "cancelled by token ops" });
    expect(await cli.onNode(["operations", "wait", id])).toMatchObject({
      code: 5,
      stderr: expect.stringContaining("token ops"),
    });
  });

  it("gives up waiting when its time is over, and says that the operation goes on", async () => {
    const { code, stderr } = await cli.onNode(["operations", "wait", id, "--timeout", "1s"]);
    expect(code).toBe(124);
    expect(stderr).toContain(`blixard operations wait ${id}`);
  });
});

describe("blixard operations", () => {
  it("lists, shows and cancels in tables and as JSON", async () => {
    const { stdout } = await cli.onNode(["operations", "list", "-o", "json"]);
    expect(JSON.parse(stdout)).toEqual([running]);
    expect(await cli.onNode(["operations", "get", id])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/token ops +1 VM moved, 1 left\n\nVM +WHY\nweb +no room\n$/),
    });
    expect(await cli.onNode(["operations", "get", "ffffffffffff"])).toMatchObject({ code: 3 });
    expect(await cli.onNode(["operations", "get", "../x"])).toMatchObject({ code: 64 });
    expect(JSON.parse((await cli.onNode(["operations", "cancel", id, "-o", "json"])).stdout)).toMatchObject({
      state: "cancelled",
    });
  });
});

describe("blixard nodes drain", () => {
  it("shows the plan before it asks, and does nothing where nobody can be asked", async () => {
    const refused = await cli.onNode(["nodes", "drain", "2"]);
    expect(refused).toMatchObject({ code: 64, stderr: expect.stringContaining("web: move to node 3 (it fits)") });
    expect(await cli.answered("n\n", ["nodes", "drain", "2"])).toMatchObject({ code: 1 });
    const asked = cli.service.calls.filter(({ name }) => name === "node.drain").map(({ request }) => request);
    expect(asked.slice(-2)).toMatchObject([{ dryRun: true }, { dryRun: true }]);
  });

  it("takes ways for single VMs, and refuses what is none", async () => {
    const args = [
      "nodes",
      "drain",
      "2",
      "--vm-mode",
      "web=stop",
      "--vm-mode",
      "db=restart",
      "--mode",
      "stop",
      "--dry-run",
    ];
    expect(await cli.onNode(args)).toMatchObject({ code: 0, stdout: expect.stringContaining("it fits") });
    expect(cli.service.calls.at(-1)?.request).toMatchObject({
      ...{ id: 2, mode: "stop", dryRun: true },
      vmModes: [
        { vm: "web", mode: "stop" },
        { vm: "db", mode: "restart" },
      ],
    });
    for (const wrong of [
      ["--mode", "fly"],
      ["--vm-mode", "web"],
      ["--parallel", "0"],
      ["--deadline", "soon"],
    ]) {
      expect(await cli.onNode(["nodes", "drain", "2", ...wrong])).toMatchObject({ code: 64 });
    }
  });
});
