/**
 * `npm run bench -- cluster`: committed key-value writes per second and their latency through a cluster of three real
 * processes over Iroh, in relation to the durable writes that this disk does one after the other in the same run.
 */
import { parseArgs } from "node:util";
import { ProcessCluster } from "@blixard/testing";
import { binary } from "../sides/binary.ts";
import { measureFsyncFloor } from "./fsync-floor.ts";
import { measureWrites, type WriteRun } from "./writes.ts";

export async function runClusterBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: "string", default: "8" },
      clients: { type: "string", default: "1,64,256" },
      nodes: { type: "string", default: "3" },
      transport: { type: "string", default: "iroh" },
      json: { type: "boolean", default: false },
    },
  });
  const durationMs = Number(values.seconds) * 1000;
  const say = (text: string) => process.stderr.write(`bench: ${text}\n`);

  const floor = measureFsyncFloor(2_000);
  const runs: WriteRun[] = [];
  const cluster = await ProcessCluster.start({
    binary,
    nodes: Number(values.nodes),
    flags: ["--transport", values.transport, "--vm-driver", "fake", "--log-level", "warn"],
    onProgress: say,
  });
  try {
    for (const clients of values.clients.split(",").map(Number)) {
      say(`${clients} clients for ${durationMs / 1000} s`);
      runs.push(await measureWrites(cluster, clients, durationMs));
    }
  } finally {
    await cluster.close();
  }

  if (values.json) {
    process.stdout.write(`${JSON.stringify({ fsyncPerSecond: floor, runs })}\n`);
    return;
  }
  process.stdout.write(
    `\nCommitted key-value writes, ${values.nodes} processes over ${values.transport}, 100-byte values.\n`,
  );
  process.stdout.write(
    `Floor: ${floor.toFixed(0)} appends of 4 KiB with fdatasync per second, one after the other.\n\n`,
  );
  process.stdout.write("CLIENTS  WRITES/S  OF FLOOR  P50 MS  P99 MS  FAILED\n");
  for (const run of runs) process.stdout.write(`${lineOf(run, floor)}\n`);
}

function lineOf(run: WriteRun, floor: number): string {
  const cells = [
    String(run.clients).padStart(7),
    run.writesPerSecond.toFixed(0).padStart(8),
    `${(run.writesPerSecond / floor).toFixed(2)}x`.padStart(8),
    run.p50Ms.toFixed(1).padStart(6),
    run.p99Ms.toFixed(1).padStart(6),
    String(run.failures).padStart(6),
  ];
  return cells.join("  ");
}
