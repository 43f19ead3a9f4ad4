/** Resident memory of idle nodes: processes of the real binary with the fake VM driver. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "@blixard/common";
import { ProcessCluster } from "@blixard/testing";
import type { BenchRow } from "../bench-row.ts";
import { binary } from "../sides/binary.ts";

const residentMiBMax = 120;
const settleMs = 5_000;

export async function measureIdleMemory(nodes: number, transport: string): Promise<BenchRow> {
  await using cluster = await ProcessCluster.start({
    binary,
    nodes,
    flags: ["--transport", transport, "--vm-driver", "fake", "--log-level", "warn"],
  });
  await sleep(settleMs);
  const residents = cluster.nodes.map(({ ready }) => residentMiB(ready.pid));
  const value = Math.max(...residents);
  return {
    name: `memory of an idle node, ${nodes} node${nodes > 1 ? "s" : ""} over ${transport}`,
    value,
    unit: "MiB",
    bar: `below ${residentMiBMax} MiB`,
    ratio: undefined,
    met: value < residentMiBMax,
    note: nodes > 1 ? "the largest of them" : "",
  };
}

function residentMiB(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  assert(kibibytes !== undefined, "resident memory is read from /proc, which this system does not have");
  return Number(kibibytes) / 1024;
}
