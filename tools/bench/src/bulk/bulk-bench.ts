/**
 * `npm run bench -- bulk`: the bulk lane against a bare stream of Iroh between the same two processes, and what a transfer
 * does to the writes of a cluster of three.
 */
import { parseArgs } from "node:util";
import { ProcessCluster } from "@blixard/testing";
import { binary } from "../sides/binary.ts";
import { median } from "../statistics/medians.ts";
import { measureBesideWrites } from "./beside-writes.ts";
import { measureRates } from "./rates.ts";

const rateBar = 20;
const latencyBar = 2;

export async function runBulkBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", default: "rate,writes" },
      rounds: { type: "string", default: "5" },
      mib: { type: "string", default: "256" },
      clients: { type: "string", default: "16" },
      seconds: { type: "string", default: "8" },
      images: { type: "string", default: "4" },
    },
  });
  const parts = values.only.split(",");
  if (parts.includes("rate")) await reportRate(Number(values.rounds), Number(values.mib));
  if (!parts.includes("writes")) return;
  const { clients, seconds, images, mib } = values;
  await reportWrites({
    clients: Number(clients),
    durationMs: Number(seconds) * 1000,
    images: Number(images),
    imageMiB: Number(mib),
  });
}

async function reportRate(rounds: number, laneMiB: number): Promise<void> {
  const rates = await measureRates({ rounds, laneMiB, irohMiB: 8, rpcMiB: 2 });
  const ratioOf = (over: readonly number[], under: readonly number[]) =>
    median(over.map((rate, round) => rate / (under[round] ?? Number.NaN)));
  const ratio = ratioOf(rates.lane, rates.iroh);
  const lines = [
    `Between two processes, medians of ${rounds} rounds, MiB/s:`,
    `  bulk lane, verified  ${median(rates.lane).toFixed(0)}`,
    `  and synced to disk   ${median(rates.durable).toFixed(0)}`,
    `  bare Iroh stream     ${median(rates.iroh).toFixed(1)}`,
    `  lane over a worker   ${median(rates.worker).toFixed(1)} (${ratioOf(rates.worker, rates.iroh).toFixed(2)}x the bare stream, ${ratioOf(rates.worker, rates.pieces).toFixed(1)}x the pieces)`,
    `  lane in RPC pieces   ${median(rates.pieces).toFixed(1)}`,
    `  ratio                ${ratio.toFixed(1)} (bar: ${rateBar}) ${ratio >= rateBar ? "ok" : "MISSED"}`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

async function reportWrites(options: Parameters<typeof measureBesideWrites>[1]): Promise<void> {
  const cluster = await ProcessCluster.start({ binary, flags: ["--vm-driver", "fake", "--log-level", "warn"] });
  try {
    const { alone, beside, bulkMiB, bulkMiBPerSecond } = await measureBesideWrites(cluster, options);
    const ratio = beside.p99Ms / alone.p99Ms;
    const lines = [
      `Writes of ${options.clients} clients to three processes, p50 / p99 in ms:`,
      `  alone                ${alone.p50Ms.toFixed(1)} / ${alone.p99Ms.toFixed(1)}  (${alone.writesPerSecond.toFixed(0)}/s)`,
      `  beside ${bulkMiB} MiB      ${beside.p50Ms.toFixed(1)} / ${beside.p99Ms.toFixed(1)}  (${beside.writesPerSecond.toFixed(0)}/s), bulk at ${bulkMiBPerSecond.toFixed(0)} MiB/s`,
      `  p99 moved            ${ratio.toFixed(2)}x (bar: ${latencyBar}) ${ratio < latencyBar ? "ok" : "MISSED"}`,
    ];
    process.stdout.write(`${lines.join("\n")}\n`);
  } finally {
    await cluster.close();
  }
}
