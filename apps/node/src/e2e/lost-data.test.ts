/** Data directories that went backwards, were emptied, cloned or damaged, and how nodes and clusters come back. */
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connectClient } from "@blixard/client";
import type { NodeStatus } from "@blixard/protocol";
import { ProcessCluster, ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

const flags = ["--transport", "iroh", "--vm-driver", "fake"];
let cluster: ProcessCluster;

beforeAll(async () => {
  cluster = await ProcessCluster.start({ binary: builtBinary(), flags });
});

afterAll(async () => {
  await cluster?.close();
});

const dirOf = (id: number) => cluster.node(id).dataDir;
/** Runs a node that is expected to end by itself. */
const runNode = (id: number, dataDir: string, ...more: string[]) =>
  runBinary(
    [
      "node",
      "--id",
      `${id}`,
      "--data-dir",
      dataDir,
      "--bind",
      "127.0.0.1:0",
      "--http",
      "127.0.0.1:0",
      ...flags,
      ...more,
    ],
    { timeoutMs: 40_000 },
  );

async function put(count: number): Promise<void> {
  const client = cluster.client();
  for (let n = 0; n < count; n++) await client.kv.put(`key/${n}`, `value ${n}`);
  client.close();
}

/** What a node says that was started on a data directory, as soon as it can be found there. */
async function statusOf(dataDir: string): Promise<NodeStatus> {
  for (;;) {
    const { code, stdout } = await runBinary(["status", "--data-dir", dataDir, "-o", "json"]);
    if (code === 0) return JSON.parse(stdout) as NodeStatus;
  }
}

async function valueAt(id: number, key: string): Promise<string | undefined> {
  const client = cluster.client(id);
  const entry = await client.kv.get(key);
  client.close();
  return entry?.value;
}

/** A node that is not the leader, so that the leader's memory of it is at stake. */
async function follower(): Promise<number> {
  const leader = await cluster.waitForLeader();
  return leader === 3 ? 2 : 3;
}

async function untilVoter(id: number, incarnation: number): Promise<void> {
  await cluster.waitFor(
    `node ${id} as a voter of incarnation ${incarnation}`,
    (status) => status.nodeId === id && status.incarnation === incarnation && status.role !== "learner",
  );
  const caught = (match: number | null, commit: number) => match !== null && match >= commit;
  await cluster.waitFor(
    `node ${id} caught up`,
    ({ members, commitIndex, leaderId, nodeId }) =>
      leaderId === nodeId && members.some((member) => member.id === id && caught(member.matchIndex, commitIndex)),
  );
}

describe("a data directory that is older than what its node promised", () => {
  it("is refused with 76, and comes back as a learner after blixard recover", async () => {
    const id = await follower();
    const [dataDir, copy] = [dirOf(id), join(cluster.dataRoot, "old-copy")];
    await cluster.node(id).stop("SIGTERM");
    await cp(dataDir, copy, { recursive: true });
    await cluster.restart(id);
    await put(20);
    // The record of this start is in the log once the node itself serves a read.
    expect(await valueAt(id, "key/19")).toBe("value 19");
    await cluster.kill(id);
    await rename(dataDir, join(cluster.dataRoot, "newer"));
    await rename(copy, dataDir);
    const refused = await runNode(id, dataDir);
    expect(refused.code).toBe(76);
    expect(refused.stderr).toContain("older than what node");
    expect(refused.stderr).toContain("blixard recover");

    const preview = await runBinary(["recover", "--data-dir", dataDir, "--dry-run", "-o", "json"]);
    expect(preview.code).toBe(0);
    expect(JSON.parse(preview.stdout)).toMatchObject({ nodeId: id, store: "whole", done: false });
    expect((await runBinary(["recover", "--data-dir", dataDir])).code).toBe(64);
    expect(await readdir(dataDir)).toContain("STORAGE");
    expect((await runBinary(["recover", "--data-dir", dataDir, "--yes"])).code).toBe(0);
    expect((await readdir(dataDir)).filter((name) => name.startsWith("backup-")).length).toBe(1);
    await cluster.restart(id);
    await untilVoter(id, 2);
    expect(await valueAt(id, "key/19")).toBe("value 19");
    expect(await readdir(dataDir)).not.toContain("recover.json");
  });

  it("is held back when it is a snapshot of the running node, by what the leader alone remembers", async () => {
    const id = await follower();
    const [dataDir, copy] = [dirOf(id), join(cluster.dataRoot, "live-copy")];
    cluster.node(id).signal("SIGSTOP");
    await cp(dataDir, copy, { recursive: true });
    cluster.node(id).signal("SIGCONT");
    await put(20);
    expect(await valueAt(id, "key/19")).toBe("value 19");
    await cluster.kill(id);
    await rename(dataDir, join(cluster.dataRoot, "live-newer"));
    await rename(copy, dataDir);
    await rm(join(dataDir, "runtime.json"), { force: true });
    // It is killed after a while: one voter's word ends nobody.
    const ended = runNode(id, dataDir);
    const shown = await statusOf(dataDir);
    expect(shown).toMatchObject({ nodeId: id, leaderId: null });
    expect(shown.heldBack).toMatch(
      /^held back by voter \d: .* its log ends at \d+, and it had acknowledged \d+; asking/,
    );
    const { code, stderr } = await ended;
    expect([code, stderr]).toEqual([null, expect.stringContaining("blixard recover")]);
    await rm(dataDir, { recursive: true });
    await rename(join(cluster.dataRoot, "live-newer"), dataDir);
    await cluster.restart(id);
    expect(await valueAt(id, "key/19")).toBe("value 19");
  });
});

describe("a data directory that was emptied", () => {
  it("is refused with 76 while it knows its cluster, and with nothing but the key", async () => {
    const id = await follower();
    const dataDir = dirOf(id);
    await cluster.kill(id);
    const kept = join(cluster.dataRoot, "kept");
    await rename(dataDir, kept);
    await mkdir(dataDir, { mode: 0o700 });
    for (const name of ["node.key", "node.json", "join.json"]) await cp(join(kept, name), join(dataDir, name));
    const known = await runNode(id, dataDir);
    expect([known.code, known.stderr]).toEqual([76, expect.stringContaining("blixard recover")]);
    for (const name of ["node.json", "join.json"]) await rm(join(dataDir, name));
    const keyOnly = await runNode(id, dataDir);
    expect([keyOnly.code, keyOnly.stderr]).toEqual([76, expect.stringContaining("--join")]);

    // Asked to join, the cluster knows the key: the next incarnation, a learner first.
    const other = cluster.nodes.find((node) => node.id !== id && node.isRunning);
    const before = await cluster.status(other?.id ?? 1);
    const child = await cluster.addNode(id);
    expect(child.ready.clusterId).toBe(before.clusterId);
    const { incarnation } = await cluster.status(id);
    expect(incarnation).toBeGreaterThan(1);
    await untilVoter(id, incarnation);
    expect(await valueAt(id, "key/19")).toBe("value 19");
  });

  it("without the key too is another machine, which may not take the id: 77", async () => {
    const id = await follower();
    const other = cluster.nodes.find((node) => node.id !== id);
    const result = await runNode(id, join(cluster.dataRoot, "stranger"), "--join", other?.ready.bind ?? "");
    expect([result.code, result.stderr]).toEqual([77, expect.stringContaining("DUPLICATE_NODE")]);
  });
});

describe("a data directory that was cloned", () => {
  it("is refused with 77 while the node runs, which goes on", async () => {
    const id = await follower();
    const clone = join(cluster.dataRoot, "clone");
    cluster.node(id).signal("SIGSTOP");
    await cp(dirOf(id), clone, { recursive: true });
    cluster.node(id).signal("SIGCONT");
    await put(1);
    const refused = await runNode(id, clone);
    expect([refused.code, refused.stderr]).toEqual([77, expect.stringContaining("runs already")]);
    expect(cluster.node(id).isRunning).toBe(true);
    await put(5);
    expect(await valueAt(id, "key/4")).toBe("value 4");
  });

  it("is the node once it was started while the original was paused, which ends with 77 when it comes back", async () => {
    const id = await cluster.waitForLeader();
    const original = cluster.node(id);
    const dataDir = dirOf(id);
    const copied = join(cluster.dataRoot, "copied");
    original.signal("SIGSTOP");
    await cp(dataDir, copied, { recursive: true });
    const abandoned = async (error: unknown) => {
      await original.stop("SIGKILL");
      throw error;
    };
    const follows = ({ leaderId, members }: NodeStatus) =>
      leaderId !== id && members.some((member) => member.id === id && (member.lastContactMs ?? 0) > 1_000);
    await cluster.waitFor("another leader, which misses the paused one", follows);
    const copy = await ProcessNode.start({ binary: builtBinary(), id, dataDir: copied, flags }).catch(abandoned);
    const client = connectClient({ addresses: [copy.ready.http], token: cluster.token, timeoutMs: 60_000 });
    try {
      await client.kv.put("copied", "1");
      const { term } = await client.status();
      original.signal("SIGCONT");
      expect((await original.exited).code).toBe(77);
      expect(original.stderrTail()).toContain("started elsewhere");
      await client.kv.put("copied", "2");
      expect((await client.status()).term).toBe(term);
    } finally {
      client.close();
      await copy.stop();
      await original.stop("SIGKILL");
    }
    await rm(dataDir, { recursive: true });
    await rename(copied, dataDir);
    await cluster.restart(id);
    expect(await valueAt(id, "copied")).toBe("2");
  });
});

describe("blixard check", () => {
  it("verifies everything, and exits with 76 and the next command when something is wrong", async () => {
    const id = await follower();
    const dataDir = dirOf(id);
    expect((await runBinary(["check", "--data-dir", dataDir])).code).toBe(75);
    await cluster.node(id).stop("SIGTERM");
    const whole = await runBinary(["check", "--data-dir", dataDir]);
    expect([whole.code, whole.stdout]).toEqual([0, expect.stringMatching(/agreement +ok/)]);

    const damaged = join(cluster.dataRoot, "damaged");
    await cp(dataDir, damaged, { recursive: true });
    const [file] = (await readdir(join(damaged, "log"))).filter((name) => /^MANIFEST/.test(name));
    const path = join(damaged, "log", file ?? "");
    const bytes = await readFile(path);
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    await writeFile(path, bytes);
    const wrong = await runBinary(["check", "--data-dir", damaged, "-o", "json"]);
    expect(wrong.code).toBe(76);
    expect(JSON.parse(wrong.stdout)).toMatchObject({
      ok: false,
      nextCommand: `blixard recover --data-dir ${damaged}`,
      findings: expect.arrayContaining([expect.objectContaining({ part: "log files", ok: false })]),
    });
    const refused = await runNode(id, damaged, "--no-comeback");
    expect([refused.code, refused.stderr]).toEqual([76, expect.stringContaining("MANIFEST")]);
    await cluster.restart(id);
  });
});

describe("blixard cluster recover", () => {
  it("makes one survivor the only voter, with its data, and keeps the others out", async () => {
    await put(20);
    expect(await valueAt(1, "key/19")).toBe("value 19");
    for (const id of [1, 2, 3]) await cluster.kill(id);
    const dataDir = dirOf(1);
    const preview = await runBinary(["cluster", "recover", "--data-dir", dataDir, "--dry-run", "-o", "json"]);
    expect(preview.code).toBe(0);
    expect(JSON.parse(preview.stdout)).toMatchObject({
      nodeId: 1,
      voters: expect.arrayContaining([1, 2, 3]),
      removed: [{ id: 2 }, { id: 3 }],
      done: false,
    });
    expect(preview.stderr).toContain("configuration after: voters 1; learners none");
    expect((await runBinary(["cluster", "recover", "--data-dir", dataDir, "--yes"])).code).toBe(0);
    expect((await runBinary(["check", "--data-dir", dataDir])).code).toBe(0);
    await cluster.restart(1);
    await cluster.waitForLeader();
    expect(await valueAt(1, "key/19")).toBe("value 19");
    const { members } = await cluster.status(1);
    expect(members.map(({ id }) => id)).toEqual([1]);
    // It knows two other voters, and only one of them says that it was removed: no majority, which alone would end it.
    const refused = await runNode(2, dirOf(2));
    expect([refused.code, refused.stderr]).toEqual([null, expect.stringContaining("held back by voter 1")]);

    // Now that it is alone, nobody could give it back what it loses.
    await cluster.kill(1);
    const alone = join(cluster.dataRoot, "alone");
    await mkdir(alone, { mode: 0o700 });
    for (const name of ["node.key", "node.json", "join.json"]) await cp(join(dataDir, name), join(alone, name));
    const lost = await runNode(1, alone);
    expect([lost.code, lost.stderr]).toEqual([76, expect.stringContaining("from a backup")]);
    expect(lost.stderr).not.toContain("blixard recover");
  });
});
