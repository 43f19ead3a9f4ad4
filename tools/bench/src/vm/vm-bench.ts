/**
 * `npm run bench -- vm [--pairs 10] [--vms 60] [--records 10000] [--changes 50] [--part start,libvirt,crowd,records] [--json]`:
 * what a VM costs beside a bare QEMU, and beside libvirt, with the same machine and kernel, by turns; many at once on three nodes
 * beside as many bare ones, and how long it takes until they are found again after all nodes were killed; and what a change of one
 * VM costs in a cluster that has records of many, on the fake driver.
 */
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { tableOf } from "../bench-row.ts";
import { intervalText } from "../pairs/pair-table.ts";
import { medianInterval, ratios } from "../statistics/bootstrap.ts";
import { median } from "../statistics/medians.ts";
import { bareStartMs } from "./bare-qemu.ts";
import { Libvirt } from "./libvirt.ts";
import { measureRecords } from "./many-records.ts";
import type { Measured } from "./measured.ts";
import { VmBed } from "./vm-bed.ts";

const parts = ["start", "libvirt", "crowd", "records"] as const;
type Part = (typeof parts)[number];

export async function runVmBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      pairs: { type: "string", default: "10" },
      vms: { type: "string", default: "60" },
      records: { type: "string", default: "10000" },
      changes: { type: "string", default: "50" },
      part: { type: "string", default: parts.join() },
      json: { type: "boolean", default: false },
    },
  });
  const measurements: Readonly<Record<Part, () => Promise<Measured>>> = {
    start: () => measureStart(Number(values.pairs)),
    libvirt: () => measureLibvirt(Number(values.pairs)),
    crowd: () => measureCrowd(Number(values.vms)),
    records: () => measureRecords({ records: Number(values.records), changes: Number(values.changes) }),
  };
  for (const part of parts) {
    if (!values.part.split(",").includes(part)) continue;
    process.stderr.write(`bench: measuring ${part}\n`);
    const { header, rows, raw } = await measurements[part]();
    process.stdout.write(values.json ? `${JSON.stringify({ part, ...raw })}\n` : `${tableOf(header, rows)}\n`);
  }
}

async function measureStart(pairs: number): Promise<Measured> {
  await using bed = await VmBed.open(1);
  const machine = await bed.machine();
  return await measurePairs(bed, { name: "BARE", pairs, startMs: () => bareStartMs(machine, bed.banner) });
}

async function measureLibvirt(pairs: number): Promise<Measured> {
  const missing = Libvirt.missing();
  if (missing !== undefined) return { header: ["LIBVIRT"], rows: [[missing]], raw: { missing } };
  await using bed = await VmBed.open(1);
  const machine = await bed.machine();
  await using libvirt = await Libvirt.open();
  // What each does for the first time only.
  await libvirt.startMs(machine, bed.banner);
  return await measurePairs(bed, { name: "LIBVIRT", pairs, startMs: () => libvirt.startMs(machine, bed.banner) });
}

/** A VM beside what somebody else starts, by turns. */
async function measurePairs(
  bed: VmBed,
  other: { readonly name: string; readonly pairs: number; readonly startMs: () => Promise<number> },
): Promise<Measured> {
  const samples: (readonly [otherMs: number, vmMs: number])[] = [];
  for (let pair = 0; pair < other.pairs; pair++) {
    const name = `nano-${pair}`;
    // What follows at once finds the machine as the one before has left it, so they take turns.
    if (pair % 2 === 0) samples.push([await other.startMs(), await bed.startMs(name)]);
    else {
      const vmMs = await bed.startMs(name);
      samples.push([await other.startMs(), vmMs]);
    }
    await bed.remove([name]);
  }
  const ratio = medianInterval(ratios(samples), { seed: 1 });
  const [otherMs, vmMs] = [median(samples.map(([ms]) => ms)), median(samples.map(([, ms]) => ms))];
  return {
    header: ["ONE VM", `${other.name} MS`, "VM MS", "RATIO [95 %]", "PAIRS"],
    rows: [["create to ready", otherMs.toFixed(0), vmMs.toFixed(0), intervalText(ratio), String(other.pairs)]],
    raw: { samples },
  };
}

async function measureCrowd(vms: number): Promise<Measured> {
  await using bed = await VmBed.open(3);
  const machine = await bed.machine();
  const names = Array.from({ length: vms }, (_, at) => `crowd-${at}`);
  const bareMs = await crowdMs(names.map(() => () => bareStartMs(machine, bed.banner)));
  const vmMs = await crowdMs(names.map((name) => () => bed.startMs(name)));
  const placed = await bed.placed();
  const adoptMs = await bed.adoptMs(names);
  await bed.remove(names);
  const seconds = (ms: number) => (ms / 1_000).toFixed(1);
  const ratio = `${(vmMs / bareMs).toFixed(2)}x`;
  return {
    header: ["VMS AT ONCE", "NODES", "BARE S", "VMS S", "RATIO", "FOUND AGAIN S"],
    rows: [[String(vms), placed.join("+"), seconds(bareMs), seconds(vmMs), ratio, seconds(adoptMs)]],
    raw: { vms, placed, bareMs, vmMs, adoptMs },
  };
}

/** Until the last one is ready. */
async function crowdMs(starts: readonly (() => Promise<number>)[]): Promise<number> {
  const startedMs = performance.now();
  await Promise.all(starts.map((start) => start()));
  return performance.now() - startedMs;
}
