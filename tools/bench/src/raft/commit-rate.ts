/**
 * RaftNode over Level against what Level itself does: the same entries in each batch, one batch after the other, each
 * durable before the next, on either side. Bare Level takes them as one chained batch with `sync: true`, which is two to
 * four times faster for it than `db.batch([...])` of the same entries.
 */
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { assert } from "@blixard/common";
import { Level } from "level";
import type { BenchRow } from "../bench-row.ts";
import { median } from "../statistics/medians.ts";
import { benchPayloads } from "./bench-group.ts";
import { LevelGroup, withDirectory } from "./level-group.ts";

const roundMs = 700;
/** Uncounted rounds until the code is compiled. */
const warmUpRounds = 2;
const payloads = benchPayloads.map((text) => Buffer.from(text));

export async function measureCommitRate(voters: number, batch: number, rounds: number): Promise<BenchRow> {
  return await withDirectory(async (directory) => {
    const level = await openBare(join(directory, "bare"));
    const group = await LevelGroup.start(directory, voters);
    const leader = await group.leader();
    let written = 0;
    let proposed = 0;
    const bareBatch = async () => {
      const chained = level.batch();
      for (let at = 0; at < batch; at++) chained.put(keyOf(written++), payloadAt(at));
      await chained.write({ sync: true });
    };
    const nodeBatch = async () => {
      const outcomes = Array.from({ length: batch }, (_, at) => leader.propose(payloadAt(at)));
      proposed += batch;
      await Promise.all(outcomes);
    };
    const floor: number[] = [];
    const rates: number[] = [];
    for (let round = -warmUpRounds; round < rounds; round++) {
      const bare = await batchesPerSecond(bareBatch);
      const node = await batchesPerSecond(nodeBatch);
      if (round < 0) continue;
      floor.push(bare);
      rates.push(node);
    }
    for (const count of await group.applied()) assert(count === proposed, `${count} of ${proposed} were applied`);
    await group.close();
    await level.close();
    const ratio = median(floor) / median(rates);
    return {
      name: `RaftNode on Level, ${voters} voter${voters > 1 ? "s" : ""}, batches of ${batch}`,
      value: median(rates) * batch,
      unit: "entries/s",
      ...(voters === 1
        ? { bar: "within 1.3x of bare Level, synced", met: ratio <= 1.3 }
        : { bar: "none: three disks in one process", met: undefined }),
      ratio,
      note: `bare ${(median(floor) * batch).toFixed(0)}/s, each batch one chained batch`,
    };
  });
}

async function openBare(location: string): Promise<Level<Buffer, Buffer>> {
  const level = new Level<Buffer, Buffer>(location, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
    compression: false,
  });
  await level.open();
  return level;
}

async function batchesPerSecond(run: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  let count = 0;
  while (performance.now() - startedMs < roundMs) {
    await run();
    count++;
  }
  return (count * 1000) / (performance.now() - startedMs);
}

function payloadAt(at: number): Buffer {
  const payload = payloads[at % payloads.length];
  assert(payload !== undefined, "there are payloads");
  return payload;
}

function keyOf(index: number): Buffer {
  const key = Buffer.allocUnsafe(9);
  key[0] = 0x65;
  key.writeBigUInt64BE(BigInt(index), 1);
  return key;
}
