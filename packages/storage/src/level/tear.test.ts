/**
 * What a start makes of a store whose files lost their last bytes: a lost write, or a copy that was cut. Files are cut
 * at some of the last bytes here; with BLIXARD_TEAR_ALL=1 at every one of them.
 */
import { cp, mkdtemp, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { discardMetrics, errorCodeOf, fromUtf8, silentLogger, toUtf8 } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { asNodeId, openRaftNode } from "@blixard/raft";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { stateStoreMachine } from "../state-store-machine.ts";
import { readLevelLog } from "./leveldb-log.ts";
import { isLogDamage } from "./log-damage.ts";
import { openLevelStorage } from "./open-level-storage.ts";

const id = asNodeId(1);
const keys = Array.from({ length: 60 }, (_, at) => `key-${at}`);
const valueBytes = 3_000;
/** Bytes that are cut off a write-ahead log or a small file, of which the last records are no larger. */
const tornBytesMax = 160;
const all = process.env["BLIXARD_TEAR_ALL"] === "1";
const cutsSampled = 5;

/** A node that is the whole of its cluster, with short snapshots, so that all stores have been flushed. */
async function startNode(dataDir: string) {
  const storage = await openLevelStorage({ dataDir });
  const stateMachine = stateStoreMachine(storage.state, (data, tables) => {
    const key = toUtf8(data).slice(0, toUtf8(data).indexOf("="));
    tables.set("kv", key, data);
    return key;
  });
  try {
    const node = await openRaftNode<string>(
      {
        ...{ clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics },
        ...{ log: storage.log, snapshots: storage.snapshots, stateMachine },
        transport: { bind: () => {}, send: () => false },
        onFatal: (error) => {
          throw error;
        },
      },
      {
        ...{ id, bootstrap: { voters: [id] }, snapshotEntries: 20, trailingEntries: 3 },
        ...{ electionTimeoutMs: 20, heartbeatIntervalMs: 5 },
      },
    );
    await node.status.until(({ ready }) => ready);
    return { node, storage, state: stateMachine.state };
  } catch (error) {
    await storage.close();
    throw error;
  }
}

/** What the node serves of the acknowledged keys, or the code of its refusal: a damaged log is one that it may come back without. */
async function verdict(dataDir: string): Promise<string> {
  try {
    const { node, state } = await startNode(dataDir);
    const missing = keys.filter((key) => state.get("kv", key) === undefined);
    await node.close();
    return missing.length === 0 ? "serves all" : `serves without ${missing.length} keys`;
  } catch (error) {
    return isLogDamage(error) ? "damaged log" : (errorCodeOf(error) ?? String(error));
  }
}

let root = "";
/** Stores as they stood when their node was gone: after its first run, and after a second one. */
let images: readonly string[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-tear-"));
  const dataDir = join(root, "first");
  const first = await startNode(dataDir);
  for (const key of keys) await first.node.propose(fromUtf8(`${key}=${"x".repeat(valueBytes)}`));
  await first.node.close();
  const second = join(root, "second");
  await cp(dataDir, second, { recursive: true });
  await (await startNode(second)).node.close();
  images = [dataDir, second];
}, 60_000);
afterAll(() => rm(root, { recursive: true }));

/** Sizes to which a file is cut. A manifest loses whole records too, each with files that went with it. */
async function cutsOf(path: string): Promise<number[]> {
  const { size } = await stat(path);
  const isManifest = path.includes("MANIFEST");
  const lowest = isManifest ? 0 : Math.max(0, size - tornBytesMax);
  const every = Array.from({ length: size - lowest }, (_, at) => lowest + at);
  if (all) return every;
  const ends = isManifest ? recordEndsOf(await readFile(path)) : [];
  const sampled = Array.from({ length: cutsSampled }, (_, at) => every[Math.floor((at * every.length) / cutsSampled)]);
  return [...new Set([...ends, ...sampled, size - 1])].filter((cut): cut is number => cut !== undefined && cut >= 0);
}

function recordEndsOf(bytes: Buffer): number[] {
  const ends: number[] = [];
  let at = 0;
  for (const { length } of readLevelLog(bytes).writes) {
    at += 7 + length;
    if (at < bytes.length) ends.push(at);
  }
  return ends;
}

async function tear(image: string, file: string): Promise<Map<string, number[]>> {
  const verdicts = new Map<string, number[]>();
  for (const cut of await cutsOf(join(image, file))) {
    const copy = join(root, "copy");
    await cp(image, copy, { recursive: true });
    await truncate(join(copy, file), cut);
    const outcome = await verdict(copy);
    verdicts.set(outcome, [...(verdicts.get(outcome) ?? []), cut]);
    await rm(copy, { recursive: true });
  }
  return verdicts;
}

async function filesOf(image: string, part: string, pattern: RegExp): Promise<string[]> {
  return (await readdir(join(image, part))).filter((name) => pattern.test(name)).map((name) => join(part, name));
}

describe("a store of which a file lost its last bytes", () => {
  it("serves everything when none did", async () => {
    for (const image of images) {
      const copy = join(root, "whole");
      await cp(image, copy, { recursive: true });
      expect(await verdict(copy)).toBe("serves all");
      await rm(copy, { recursive: true });
    }
  });

  it.each(["state", "snapshots"])(
    "serves all keys: %s",
    async (part) => {
      for (const image of images) {
        for (const file of await filesOf(image, part, /^MANIFEST-|\.log$/)) {
          const others = [...(await tear(image, file))].filter(([outcome]) => outcome !== "serves all");
          expect([file, others]).toEqual([file, []]);
        }
      }
    },
    3_600_000,
  );

  it("serves all keys or refuses to start, when it is alone: log and votes", async () => {
    for (const image of images) {
      for (const file of [...(await filesOf(image, "log", /^MANIFEST-|\.log$/)), "vote", "seal"]) {
        const verdicts = await tear(image, file);
        const others = [...verdicts].filter(([outcome]) => outcome !== "serves all" && outcome !== "damaged log");
        expect([file, others]).toEqual([file, []]);
        if (file.startsWith("log/")) expect([file, verdicts.get("serves all") ?? []]).toEqual([file, []]);
      }
    }
  }, 3_600_000);
});
