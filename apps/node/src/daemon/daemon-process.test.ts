import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectClient, RetryClient, readLocalNode } from "@blixard/client";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "../e2e/binary.ts";
import { runBinary } from "../e2e/run-binary.ts";

const flags = ["--vm-driver", "fake", "--debug-api"];
let root: string;
let dataDir: string;
let node: ProcessNode;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-daemon-"));
  dataDir = join(root, "1");
  node = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir, flags });
});

afterAll(async () => {
  await node?.stop("SIGKILL");
  await rm(root, { recursive: true, force: true });
});

describe("blixard node", () => {
  it("prints where it serves, says that it is a new cluster, and how to join it", () => {
    expect(node.ready).toMatchObject({
      event: "ready",
      nodeId: 1,
      endpointId: expect.stringMatching(/^[0-9a-f]{64}$/),
      bind: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      http: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    });
    expect(node.stderrTail()).toContain(`--join ${node.ready.bind}`);
  });

  it("keeps its secrets to itself", async () => {
    const modes = await Promise.all(
      ["", "node.key", "admin.token", "runtime.json"].map(
        async (name) => (await stat(join(dataDir, name))).mode & 0o777,
      ),
    );
    expect(modes).toEqual([0o700, 0o600, 0o600, 0o600]);
    expect(node.stderrTail(400)).not.toContain(await node.token());
  });

  it("answers on the bind port over TLS with its own key, and on the HTTP port, alike", async () => {
    const { bind, http, endpointId, clusterId } = node.ready;
    await using secure = connectClient({ addresses: [bind], pin: endpointId });
    await using plain = connectClient({ addresses: [http] });
    const identity = { nodeId: 1, endpointId, clusterId, addresses: [bind] };
    expect(await secure.identity()).toMatchObject(identity);
    expect(await plain.identity()).toMatchObject(identity);
    await using retrying = await RetryClient.connect(bind);
    expect(await retrying.healthCheck()).toMatchObject({ healthy: true, ready: true, nodeId: 1 });
    await expect(secure.status()).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  it("collects its garbage when a test asks for it, as often as it asks", async () => {
    const headers = { authorization: `Bearer ${await node.token()}` };
    const collections = async () => {
      const text = await (await fetch(`${node.ready.http}/metrics`, { headers })).text();
      return Number(/^blixard_nodejs_gc_duration_seconds_count{kind="major"} (\d+)$/m.exec(text)?.[1] ?? 0);
    };
    for (let asked = 0; asked < 2; asked++) {
      const before = await collections();
      await node.collectGarbage();
      expect(await collections()).toBeGreaterThan(before);
    }
  });

  it("warns when other machines reach the plain HTTP API", async () => {
    const openFlags = [...flags, "--http", "0.0.0.0:0"];
    const open = await ProcessNode.start({
      binary: builtBinary(),
      id: 1,
      dataDir: join(root, "open"),
      flags: openFlags,
    });
    await open.stop("SIGKILL");
    const warned = [node, open].map((each) => each.stderrTail(400).includes("tokens cross the network"));
    expect(warned).toEqual([false, true]);
  });

  it("shows its log with the hash after each entry, as a list and through the client", async () => {
    const token = await node.token();
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(`${node.ready.http}/v1/debug/log?from=1&to=2`, { headers });
    const entries = await answer.json();
    const entry = { index: expect.any(Number), term: expect.any(Number), hash: expect.stringMatching(/^[0-9a-f]+$/) };
    expect(entries).toEqual([entry, entry]);
    await using client = connectClient({ addresses: [node.ready.bind], token });
    expect(await client.cluster.log(1, 2)).toEqual({ items: entries });
  });

  it("serves commands that are given its data directory and nothing else", async () => {
    expect(await runBinary(["kv", "put", "greeting", "hello", "--data-dir", dataDir])).toMatchObject({ code: 0 });
    const got = await runBinary(["kv", "get", "greeting", "--data-dir", dataDir]);
    expect(got).toEqual({ code: 0, stdout: "hello\n", stderr: "" });
    const status = await runBinary(["status", "-o", "json", "--data-dir", dataDir]);
    expect(JSON.parse(status.stdout)).toMatchObject({ nodeId: 1, leaderId: 1, role: "leader" });
  });

  it("ends with 0 at SIGTERM, and finds its data, its id and its peers again without being told", async () => {
    const before = node.ready;
    expect(await node.stop("SIGTERM")).toEqual({ code: 0, signal: null });
    expect(await readLocalNode(dataDir)).toBeUndefined();
    expect((await runBinary(["status", "--data-dir", dataDir])).code).toBe(6);
    node = await node.restart();
    expect(node.ready).toMatchObject({ clusterId: before.clusterId, endpointId: before.endpointId, bind: before.bind });
    expect((await runBinary(["kv", "get", "greeting", "--data-dir", dataDir])).stdout).toBe("hello\n");
  });

  it("lets another node join by address on loopback, takes its own token there, and refuses to run it with 77 once it was removed", async () => {
    const secondDir = join(root, "2");
    const second = await ProcessNode.start({
      binary: builtBinary(),
      id: 2,
      dataDir: secondDir,
      join: node.ready.bind,
      flags,
    });
    try {
      expect(second.ready.clusterId).toBe(node.ready.clusterId);
      expect(second.stderrTail(400)).toContain("without a ticket: this user can read the secret of the node there");
      const token = (await readFile(join(secondDir, "admin.token"), "utf8")).trim();
      await using client = connectClient({ addresses: [second.ready.bind], token });
      expect(await client.kv.get("greeting")).toMatchObject({ value: "hello" });
      const removed = await runBinary(["cluster", "remove", "2", "--yes", "--force", "--data-dir", dataDir]);
      expect(removed).toMatchObject({ code: 0 });
      await second.stop();
      const again = ["node", "--data-dir", secondDir, "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", ...flags];
      expect(await runBinary(again)).toMatchObject({ code: 77, stderr: expect.stringContaining("REMOVED") });
    } finally {
      await second.stop("SIGKILL");
    }
  });

  it("refuses with 77 to run a copy of its directory while it runs, though there is no other node to ask", async () => {
    const copy = join(root, "copy");
    await cp(dataDir, copy, { recursive: true });
    const args = ["node", "--data-dir", copy, "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", ...flags];
    const refused = await runBinary(args);
    expect(refused).toMatchObject({ code: 77, stdout: "", stderr: expect.stringContaining("DUPLICATE_NODE") });
    expect(refused.stderr).toContain(node.ready.bind);
    expect((await runBinary(["kv", "get", "greeting", "--data-dir", dataDir])).stdout).toBe("hello\n");
  });

  it("refuses with 77 to take a directory of another cluster into this one", async () => {
    const foreignDir = join(root, "foreign");
    const foreign = await ProcessNode.start({ binary: builtBinary(), id: 5, dataDir: foreignDir, flags });
    await foreign.stop();
    const args = ["node", "--data-dir", foreignDir, "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", ...flags];
    const result = await runBinary([...args, "--join", node.ready.bind]);
    expect(result).toMatchObject({ code: 77, stdout: "", stderr: expect.stringContaining("WRONG_CLUSTER") });
    expect(result.stderr).toContain(node.ready.clusterId);
  });

  it("ends with 0 at SIGTERM while it still looks for the cluster", async () => {
    // Nothing answers at the discard port, and joining is patient.
    const args = ["node", "--id", "4", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--join", "127.0.0.1:9"];
    const child = spawn(process.execPath, [builtBinary(), ...args, "--data-dir", join(root, "4")], { stdio: "ignore" });
    const ended = once(child, "close");
    while (!existsSync(join(root, "4", "node.key"))) await sleep(systemClock, 20);
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
  });
});
