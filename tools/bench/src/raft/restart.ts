/**
 * How long a node takes from opening its stores to deciding again, with a million entries in its log that a snapshot
 * covers: "retained" keeps all of them in the log, "compacted" is what a node does by itself. The floor reads the same
 * records with bare Level.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { assert, seededRandom } from "@blixard/common";
import { asNodeId, type Entry, emptyConfState, noNode } from "@blixard/raft";
import { asLogIndex, asTerm } from "@blixard/raft/core";
import { MemoryNetwork } from "@blixard/raft/testing";
import { openLevelStorage } from "@blixard/storage/level";
import type { BenchRow } from "../bench-row.ts";
import { median } from "../statistics/medians.ts";
import { benchPayloads } from "./bench-group.ts";
import { CountingMachine, startMember, withDirectory } from "./level-group.ts";

const entriesCount = 1_000_000;
const entriesPerBlock = 64;
/** What RaftNode keeps before a snapshot by default. */
const trailingEntries = 1_000;
const readySecondsMax = 2;
const term = asTerm(1);
const confState = { ...emptyConfState(), voters: [asNodeId(1)] };

interface Restart {
  readonly readySeconds: number;
  readonly entries: number;
}

export async function measureRestart(kind: "compacted" | "retained", rounds: number): Promise<BenchRow> {
  return await withDirectory(async (directory) => {
    const dataDir = join(directory, "node");
    await writeNode(dataDir, kind);
    const main = fileURLToPath(new URL("../main.js", import.meta.url));
    const seconds: number[] = [];
    const floors: number[] = [];
    let entries = 0;
    for (let round = 0; round < rounds; round++) {
      floors.push(readFiles(join(dataDir, "log")));
      // A process of its own, as cold as a node that starts.
      const output = execFileSync(process.execPath, [main, "raft-restart", dataDir], { encoding: "utf8" });
      const restart = JSON.parse(output) as Restart;
      seconds.push(restart.readySeconds);
      entries = restart.entries;
    }
    const value = median(seconds);
    return {
      name: `restart, ${entriesCount} entries behind a snapshot, ${kind}`,
      value,
      unit: "s",
      bar: `below ${readySecondsMax} s; ratio to reading the files`,
      ratio: value / median(floors),
      met: value < readySecondsMax,
      note: `${entries} entries loaded, floor ${(median(floors) * 1000).toFixed(0)} ms`,
    };
  });
}

/** Prints how long the node of `dataDir` took to be ready. */
export async function reportRestart([dataDir]: readonly string[]): Promise<void> {
  assert(dataDir !== undefined, "the data directory is missing");
  const startedMs = performance.now();
  const storage = await openLevelStorage({ dataDir });
  const meta = await storage.snapshots.latest();
  const machine = new CountingMachine(meta);
  const network = new MemoryNetwork({ random: seededRandom(1) });
  const { node } = await startMember(storage, network, machine, { id: asNodeId(1), snapshotEntries: 0 });
  await node.status.until(({ ready }) => ready);
  const readySeconds = (performance.now() - startedMs) / 1000;
  const { lastLogIndex } = node.status.value;
  assert(lastLogIndex > entriesCount, `the log ends at ${lastLogIndex}`);
  await node.close();
  await storage.close();
  const entries = await countLoaded(dataDir);
  process.stdout.write(`${JSON.stringify({ readySeconds, entries } satisfies Restart)}\n`);
}

/** Entries that a start reads. */
async function countLoaded(dataDir: string): Promise<number> {
  const storage = await openLevelStorage({ dataDir });
  const { entries } = await storage.log.load({ snapshot: await storage.snapshots.latest(), trailingEntries });
  await storage.close();
  return entries.length;
}

async function writeNode(dataDir: string, kind: "compacted" | "retained"): Promise<void> {
  const storage = await openLevelStorage({ dataDir });
  await storage.log.load();
  const payloads = benchPayloads.map((text) => new TextEncoder().encode(text));
  for (let from = 1; from <= entriesCount; from += entriesPerBlock) {
    const entries = Array.from({ length: entriesPerBlock }, (_, at): Entry => {
      const index = asLogIndex(from + at);
      return { term, index, kind: "normal", data: payloads[index % payloads.length] ?? new Uint8Array() };
    });
    const hardState = { term, vote: noNode, commit: asLogIndex(from - 1 + entriesPerBlock) };
    await storage.log.append({ entries, hardState });
  }
  const at = { index: asLogIndex(entriesCount), term, confState };
  await storage.snapshots.save(at, nothing());
  if (kind === "compacted") await storage.log.compact({ index: asLogIndex(entriesCount - trailingEntries), term });
  await storage.close();
}

/** Seconds to read every file of a database, which are in the page cache. */
function readFiles(folder: string): number {
  const startedMs = performance.now();
  let bytes = 0;
  for (const file of readdirSync(folder)) bytes += readFileSync(join(folder, file)).length;
  assert(bytes > 0, "there is nothing to read");
  return (performance.now() - startedMs) / 1000;
}

async function* nothing(): AsyncIterable<Uint8Array> {}
