import { chmod, mkdtemp, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectClient } from "@blixard/client";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

describe("bad input to a node", () => {
  let root: string;
  let node: ProcessNode;
  let token: string;
  const client = () => connectClient({ addresses: [node.ready.http], token });
  const request = (method: string, path: string, body?: string, headers: Record<string, string> = {}) =>
    fetch(`${node.ready.http}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body }),
    });

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "blixard-bad-"));
    node = await ProcessNode.start({
      binary: builtBinary(),
      id: 1,
      dataDir: join(root, "1"),
      flags: ["--vm-driver", "fake", "--debug-api"],
    });
    token = await node.token();
  });

  afterAll(async () => {
    await node?.stop();
    await rm(root, { recursive: true, force: true });
  });

  /** Runs `attempt` and expects that no entry was added to the log by it. */
  async function changesNothing(attempt: () => Promise<void>): Promise<void> {
    const probe = client();
    const before = await probe.vms.list();
    const { commitIndex } = await probe.status();
    await attempt();
    expect(await probe.vms.list()).toEqual(before);
    expect((await probe.status()).commitIndex).toBe(commitIndex);
    probe.close();
  }

  it.each([
    ["an unknown command", ["frobnicate"], "frobnicate"],
    ["an unknown flag", ["status", "--frobnicate"], "frobnicate"],
    ["a node id that is no number", ["node", "--id", "one"], "id"],
    ["the node id 0", ["node", "--id", "0"], "id"],
    ["a bind address without a port", ["node", "--id", "1", "--bind", "localhost"], "bind"],
    ["an unknown transport", ["node", "--id", "1", "--transport", "pigeon"], "transport"],
  ])("is refused with exit code 64: %s", async (_what, args, word) => {
    const run = await runBinary(args);
    expect(run.code).toBe(64);
    expect(run.stderr).toContain(word);
    expect(run.stdout).toBe("");
  });

  it("names the port that is in use, and exits with 75", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => holder.once("listening", resolve));
    const { port } = holder.address() as { port: number };
    const run = await runBinary(["node", "--id", "2", "--bind", `127.0.0.1:${port}`, "--data-dir", join(root, "port")]);
    holder.close();
    expect(run.code).toBe(75);
    expect(run.stderr).toContain(String(port));
    expect(run.stderr).toContain("PORT_IN_USE");
  });

  it("refuses a data directory that another process holds with 75", async () => {
    const run = await runBinary([
      "node",
      "--id",
      "1",
      "--bind",
      "127.0.0.1:0",
      "--http",
      "127.0.0.1:0",
      "--data-dir",
      node.dataDir,
    ]);
    expect(run.code).toBe(75);
    expect(run.stderr).toContain("DATA_DIR_IN_USE");
  });

  it("refuses the data directory of another node with 77, and a key file that others can read with 64", async () => {
    const dataDir = join(root, "other");
    const flags = ["--vm-driver", "fake"];
    const other = await ProcessNode.start({ binary: builtBinary(), id: 5, dataDir, flags });
    await other.stop();
    const args = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", dataDir];
    const foreign = await runBinary(["node", "--id", "6", ...args]);
    expect(foreign.code).toBe(77);
    expect(foreign.stderr).toContain("DATA_DIR_FOREIGN");
    await chmod(join(dataDir, "node.key"), 0o644);
    const wide = await runBinary(["node", "--id", "5", ...args]);
    expect(wide.code).toBe(64);
    expect(wide.stderr).toContain("chmod");
  });

  it("refuses files that somebody else may have written, with 64 and what to type", async () => {
    const dataDir = join(root, "planted");
    const flags = ["--vm-driver", "fake"];
    const args = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", dataDir];
    await (await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir, flags })).stop();
    const start = () => runBinary(["node", "--id", "1", ...args]);
    await rename(join(dataDir, "admin.token"), join(root, "token"));
    await symlink(join(root, "token"), join(dataDir, "admin.token"));
    expect(await start()).toMatchObject({ code: 64, stderr: expect.stringContaining("admin.token is a link") });
    await rm(join(dataDir, "admin.token"));
    await chmod(dataDir, 0o755);
    for (const command of [["node"], ["check"], ["recover", "--yes"], ["status"]]) {
      const wide = await runBinary([...command, "--data-dir", dataDir]);
      expect(wide).toMatchObject({ code: 64, stderr: expect.stringContaining(`chmod 700 ${dataDir}`) });
    }
    await chmod(dataDir, 0o700);
    const config = join(root, "config.yaml");
    await writeFile(config, "");
    await truncate(config, 2 ** 33);
    const large = await runBinary(["config", "view", "--config", config]);
    expect(large).toMatchObject({ code: 64, stderr: expect.stringContaining("larger than 1048576 bytes") });
  });

  it.each([
    ["with a path in it", "../etc"],
    ["with a comma", "a,b"],
    ["with a NUL", "a\0b"],
    ["of 300 characters", "a".repeat(300)],
    ["that is empty", ""],
  ])("refuses a VM name %s", async (_what, name) => {
    await changesNothing(async () => {
      const body = JSON.stringify({ name, spec: { vcpus: 1, memoryMiB: 64, image: "demo" } });
      const answer = await request("POST", "/v1/vms", body);
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({ error: { code: "INVALID_ARGUMENT", outcome: "not_applied" } });
    });
  });

  it.each([
    ["no memory", { vcpus: 1, memoryMiB: 0, image: "demo" }, 400, "INVALID_ARGUMENT"],
    ["memory beyond every node", { vcpus: 1, memoryMiB: 1_000_000, image: "demo" }, 409, "NO_CAPACITY"],
    ["an unknown image", { vcpus: 1, memoryMiB: 64, image: "nowhere" }, 404, "IMAGE_NOT_FOUND"],
    ["a field that does not exist", { vcpus: 1, memoryMiB: 64, image: "demo", colour: "red" }, 400, "INVALID_ARGUMENT"],
  ])("refuses a VM with %s", async (_what, spec, status, code) => {
    await changesNothing(async () => {
      const answer = await request("POST", "/v1/vms", JSON.stringify({ name: "web", spec, failIfPending: true }));
      expect(answer.status).toBe(status);
      expect(await answer.json()).toMatchObject({ error: { code } });
    });
  });

  it("refuses a value over 64 KiB, malformed JSON, a wrong token and a foreign origin", async () => {
    await changesNothing(async () => {
      const large = await request("PUT", "/v1/kv/k", JSON.stringify({ value: "x".repeat(64 * 1024 + 1) }));
      expect(large.status).toBe(413);
      expect(await large.json()).toMatchObject({ error: { code: "VALUE_TOO_LARGE" } });
      const malformed = await request("PUT", "/v1/kv/k", '{"value":');
      expect(malformed.status).toBe(400);
      expect(await malformed.json()).toMatchObject({ error: { code: "MALFORMED_JSON" } });
      const denied = await request("PUT", "/v1/kv/k", '{"value":"v"}', { authorization: "Bearer wrong" });
      expect(denied.status).toBe(401);
      const foreign = await request("PUT", "/v1/kv/k", '{"value":"v"}', { origin: "https://elsewhere.example" });
      expect(foreign.status).toBe(403);
    });
  });

  it("refuses bad, expired, revoked and used tickets with 77", async () => {
    const probe = client();
    const join1 = async (ticket: string, id: number) =>
      await runBinary(
        ["node", "--id", String(id), "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--vm-driver", "fake"].concat([
          "--data-dir",
          join(root, `ticket-${id}`),
          "--join",
          ticket,
        ]),
      );
    const garbled = await join1("blx1-nonsense", 20);
    expect(garbled).toMatchObject({ code: 77, stderr: expect.stringContaining("TICKET_INVALID") });

    const { ticket: expiring, expiresUnixMs } = await probe.tickets.create({ role: "voter", ttlSeconds: 1 });
    while (systemClock.unixMs() <= expiresUnixMs) await sleep(systemClock, 20);
    const expired = await join1(expiring, 21);
    expect(expired).toMatchObject({ code: 77, stderr: expect.stringContaining("TICKET_EXPIRED") });

    const revoked = await probe.tickets.create({ role: "voter" });
    await probe.tickets.revoke(revoked.id);
    expect((await join1(revoked.ticket, 22)).stderr).toContain("TICKET_INVALID");

    const { ticket } = await probe.tickets.create({ role: "learner" });
    const flags = ["--vm-driver", "fake"];
    const learner = await ProcessNode.start({
      binary: builtBinary(),
      id: 23,
      dataDir: join(root, "23"),
      join: ticket,
      flags,
    });
    const again = await join1(ticket, 24);
    expect(again).toMatchObject({ code: 77, stderr: expect.stringContaining("TICKET_USED") });
    await learner.stop();
    expect((await probe.nodes.list()).map(({ id }) => id)).toEqual([1, 23]);
    probe.close();
  });
});
