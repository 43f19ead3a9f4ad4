import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { discardMetrics, errorCodeOf, fromUtf8, silentLogger, toUtf8 } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { asNodeId, openRaftNode } from "@blixard/raft";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { stateStoreMachine } from "../state-store-machine.ts";
import { flipBit } from "./faults/flip-bit.ts";
import { openLevelStorage } from "./open-level-storage.ts";
import type { ScrubOptions } from "./scrubber.ts";

const id = asNodeId(1);
const never = { bytesPerSecond: 0 };
const atOnce = { bytesPerSecond: 1e9, pauseMs: 20 };
const waitMsMax = 10_000;

let dataDir = "";
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "blixard-scrub-"));
});
afterEach(() => rm(dataDir, { recursive: true }));

/** A node that is the whole of its cluster. */
async function startNode(scrub: ScrubOptions) {
  const storage = await openLevelStorage({ dataDir, scrub });
  const stateMachine = stateStoreMachine(storage.state, (data, tables) => {
    const [key = ""] = toUtf8(data).split("=");
    tables.set("kv", key, data);
    return key;
  });
  const failures: unknown[] = [];
  const ports = { log: storage.log, snapshots: storage.snapshots, stateMachine };
  const node = await openRaftNode<string>(
    {
      ...{ clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics, ...ports },
      transport: { bind: () => {}, send: () => false },
      onFatal: (error) => failures.push(error),
    },
    { id, bootstrap: { voters: [id] }, trailingEntries: 5, electionTimeoutMs: 20, heartbeatIntervalMs: 5 },
  );
  await node.status.until(({ ready }) => ready);
  const put = (key: string) => node.propose(fromUtf8(`${key}=${"x".repeat(100)}`));
  const close = async () => {
    await node.close();
    await storage.close();
  };
  return { node, storage, put, state: stateMachine.state, failures, close };
}

/** Writes 30 keys, a snapshot behind 20 of them, and lets all of it come into table files. */
async function fill(): Promise<void> {
  const first = await startNode(never);
  for (let key = 0; key < 30; key++) {
    await first.put(`key-${key}`);
    if (key === 19) await first.node.takeSnapshot();
  }
  await first.close();
  // Opening a database moves what is in its write-ahead log to a table.
  await (await startNode(never)).close();
}

/** Flips one bit of the last place that holds `text`, in whatever table of this database. */
async function damage(part: string, text: string): Promise<void> {
  for (const name of (await readdir(join(dataDir, part))).filter((file) => file.endsWith(".ldb")).reverse()) {
    const path = join(dataDir, part, name);
    const at = (await readFile(path)).lastIndexOf(text);
    if (at < 0) continue;
    return flipBit(path, at);
  }
  throw new Error(`no table of ${part} holds ${text}`);
}

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = Date.now() + waitMsMax;
  while (!(await isSo())) {
    if (Date.now() > endMs) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function assertWhole(): Promise<void> {
  const again = await startNode(never);
  for (let key = 0; key < 30; key++) expect(again.state.get("kv", `key-${key}`)).toBeDefined();
  expect(again.storage.health).toMatchObject({ corruptions: 0, repairs: 0 });
  await again.close();
}

describe("a damaged snapshot", () => {
  it("is found at the start, counted, and made anew", async () => {
    await fill();
    await damage("snapshots", "key-7=");
    const { storage, failures, state, close } = await startNode(never);
    expect(storage.health.corruptions).toBe(1);
    await until("a new snapshot", async () => (await storage.snapshots.latest()) !== undefined);
    expect(storage.health).toMatchObject({ corruptions: 1, repairs: 1 });
    expect(state.get("kv", "key-7")).toBeDefined();
    expect(failures).toEqual([]);
    await close();
    await assertWhole();
  });

  it("does not end the node that reads it for a peer", async () => {
    await fill();
    const { storage, failures, close } = await startNode(never);
    const before = await storage.snapshots.latest();
    if (before === undefined) throw new Error("there is a snapshot");
    await damage("snapshots", "key-7=");
    const read = storage.snapshots.read(before.index, 0, before.sizeBytes);
    expect(await read.then(() => "read", errorCodeOf)).toBe("STORAGE_CORRUPT");
    await until("a new snapshot", async () => ((await storage.snapshots.latest())?.index ?? 0) >= before.index);
    expect(storage.health).toMatchObject({ corruptions: 1, repairs: 1 });
    expect(failures).toEqual([]);
    await close();
    await assertWhole();
  });
});

describe("the check in the background", () => {
  it.each([
    ["snapshots", "key-7="],
    ["state", "key-3="],
    ["log", "key-27="],
  ])("finds damage of %s while the node runs, and repairs it", async (part, text) => {
    await fill();
    const { storage, failures, put, close } = await startNode(atOnce);
    await damage(part, text);
    await until("the repair", () => storage.health.repairs === 1);
    expect(storage.health.corruptions).toBe(1);
    const { passes } = storage.health.scrub;
    await until("two more passes", () => storage.health.scrub.passes >= passes + 2);
    expect(storage.health).toMatchObject({ corruptions: 1, repairs: 1 });
    expect(storage.health.scrub.checkedBytes).toBeGreaterThan(3_000);
    await put("key-30");
    expect(failures).toEqual([]);
    await close();
    await assertWhole();
  });

  it("reads no faster than it may", async () => {
    await fill();
    const { storage, close } = await startNode({ bytesPerSecond: 20_000, pauseMs: 0 });
    const [before, startMs] = [storage.health.scrub.checkedBytes, performance.now()];
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const seconds = (performance.now() - startMs) / 1_000;
    expect(storage.health.scrub.checkedBytes).toBeGreaterThan(before);
    // One piece may be under way.
    expect(storage.health.scrub.checkedBytes - before).toBeLessThan(20_000 * seconds + 10_000);
    await close();
  });
});
