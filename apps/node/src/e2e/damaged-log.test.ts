/** A log that is not whole: its node takes no part with it, and comes back by itself where others can let it in. */
import { cp, mkdtemp, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ProcessCluster, ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { type BinaryRun, runBinary } from "./run-binary.ts";

const flags = ["--transport", "iroh", "--vm-driver", "fake", "--no-relay", "--no-discovery"];
/** More than the last record of a write-ahead log. */
const tornBytes = 40;
const keys = Array.from({ length: 20 }, (_, at) => `key/${at}`);
const waits = "waits until the others serve";
let cluster: ProcessCluster;

beforeAll(async () => {
  cluster = await ProcessCluster.start({ binary: builtBinary(), flags });
});
afterAll(async () => {
  await cluster?.close();
});

const dirOf = (id: number) => cluster.node(id).dataDir;

function runNode(id: number, dataDir: string, more: { readonly flags?: string[]; readonly until?: string } = {}) {
  const ports = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"];
  const args = ["node", "--id", `${id}`, "--data-dir", dataDir, ...ports, ...flags, ...(more.flags ?? [])];
  return runBinary(args, more.until === undefined ? {} : { until: more.until });
}

/** Cuts the end of the newest write-ahead log, as a lost write does. */
async function tearLog(dataDir: string): Promise<void> {
  const logs = (await readdir(join(dataDir, "log"))).filter((name) => name.endsWith(".log")).sort();
  const path = join(dataDir, "log", logs.at(-1) ?? "");
  const { size } = await stat(path);
  await truncate(path, Math.max(0, size - tornBytes));
}

async function put(value: string): Promise<void> {
  const client = cluster.client();
  for (const key of keys) await client.kv.put(key, value);
  client.close();
}

/** The values of all keys as one node gives them. */
async function valuesAt(id: number): Promise<Set<string | undefined>> {
  const client = cluster.client(id);
  const values = new Set<string | undefined>();
  for (const key of keys) values.add((await client.kv.get(key))?.value);
  client.close();
  return values;
}

const untilVoter = (id: number, incarnation: number) =>
  cluster.waitFor(
    `node ${id} as a voter of incarnation ${incarnation}`,
    (status) => status.nodeId === id && status.incarnation === incarnation && status.role !== "learner",
  );
const backupsIn = async (dataDir: string) => (await readdir(dataDir)).filter((name) => name.startsWith("backup-"));

describe("a voter whose log lost its last records", () => {
  it("ends with 76 and keeps its store with --no-comeback, and comes back by itself without", async () => {
    const leader = await cluster.waitForLeader();
    const id = leader === 3 ? 2 : 3;
    const dataDir = dirOf(id);
    await put("first");
    await cluster.node(id).stop("SIGTERM");
    await tearLog(dataDir);
    await put("second");
    const refused = await runNode(id, dataDir, { flags: ["--no-comeback"] });
    expect([refused.code, refused.stderr]).toEqual([76, expect.stringContaining("blixard recover")]);
    expect(await backupsIn(dataDir)).toEqual([]);

    const node = await cluster.restart(id);
    expect(node.stderrTail()).toContain("it comes back as a learner");
    const { storage } = await untilVoter(id, 2);
    const [backup = ""] = await backupsIn(dataDir);
    expect(storage.comeback).toMatchObject({
      keptIn: join(dataDir, backup),
      reason: expect.stringContaining("lost writes"),
    });
    expect(await readdir(join(dataDir, backup))).toContain("STORAGE");
    expect(await valuesAt(id)).toEqual(new Set(["second"]));
    const shown = await runBinary(["status", "--data-dir", dataDir]);
    expect(shown.stdout).toContain(`kept in ${join(dataDir, backup)}`);

    // The next damage within a day is one that a person has to look at.
    await cluster.node(id).stop("SIGTERM");
    await tearLog(dataDir);
    const again = await runNode(id, dataDir);
    expect([again.code, again.stderr]).toEqual([76, expect.stringContaining("within a day")]);
    expect(await backupsIn(dataDir)).toEqual([backup]);
    expect((await runBinary(["recover", "--data-dir", dataDir, "--yes"])).code).toBe(0);
    await cluster.restart(id);
    await untilVoter(id, 3);
    expect(await valuesAt(id)).toEqual(new Set(["second"]));
  });

  it("waits with its store where it is while another one is damaged too, and nothing is lost", async () => {
    const fresh = await Promise.all([1, 2, 3].map(async (id) => [id, await backupsIn(dirOf(id))] as const));
    const [first = 0, second = 0] = fresh.filter(([, backups]) => backups.length === 0).map(([id]) => id);
    await put("third");
    const whole = join(cluster.dataRoot, "whole");
    for (const id of [first, second]) await cluster.node(id).stop("SIGTERM");
    await cp(join(dirOf(second), "log"), whole, { recursive: true });
    for (const id of [first, second]) await tearLog(dirOf(id));
    const ended: BinaryRun[] = await Promise.all([first, second].map((id) => runNode(id, dirOf(id), { until: waits })));
    expect(ended.map(({ stderr }) => stderr)).toEqual([expect.stringContaining(waits), expect.stringContaining(waits)]);
    for (const id of [first, second]) expect(await backupsIn(dirOf(id))).toEqual([]);

    // With the second one whole again the third has somebody to lead, and the first is let in.
    await rm(join(dirOf(second), "log"), { recursive: true });
    await cp(whole, join(dirOf(second), "log"), { recursive: true });
    await Promise.all([cluster.restart(first), cluster.restart(second)]);
    await untilVoter(first, 2);
    expect((await cluster.status(second)).incarnation).toBe(1);
    for (const id of [1, 2, 3]) expect(await valuesAt(id)).toEqual(new Set(["third"]));
  });
});

describe("the only voter of a cluster", () => {
  it("ends with 76 when its log lost its last records, and keeps what it has", async () => {
    const root = await mkdtemp(join(tmpdir(), "blixard-alone-"));
    const dataDir = join(root, "1");
    const node = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir, flags });
    await node.stop("SIGTERM");
    await tearLog(dataDir);
    const before = await readFile(join(dataDir, "vote"));
    const refused = await runNode(1, dataDir);
    expect([refused.code, refused.stderr]).toEqual([76, expect.stringContaining("lost writes that were durable")]);
    expect(await backupsIn(dataDir)).toEqual([]);
    expect(await readFile(join(dataDir, "vote"))).toEqual(before);
    await rm(root, { recursive: true });
  });
});
