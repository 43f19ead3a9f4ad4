/**
 * `npm run bench -- vm-loss [--rounds 1] [--only TEXT] [--driver auto] [--json]`: what becomes of a VM that moves when
 * something happens to its node. For each fault of `docs/failure.md`, on three nodes of its own: until when its process runs,
 * when the cluster says that it runs again and where, how many copies ran at once, and for how long. Ends with 1 when two
 * copies ran where the rules keep them from it.
 */
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { VmRecord } from "@blixard/protocol";
import { instanceProcesses, ProcessCluster } from "@blixard/testing";
import { tableOf } from "../bench-row.ts";
import { cleanAtEnd } from "../proc/endings.ts";
import { binary } from "../sides/binary.ts";
import { median } from "../statistics/medians.ts";
import { Copies, runs } from "./copies.ts";
import { type Fault, faults, type LostNode } from "./faults.ts";

const patienceMs = 120_000;
/** A node that wakes up has to find out what it lost. */
const thawMs = 5_000;
const roundSeconds = 45;
const sampleMs = 10;

interface LossRun {
  readonly fault: string;
  /** Since the fault; null for a process that ran on. */
  readonly endedMs: number | null;
  readonly againMs: number;
  readonly where: "same node" | "another node";
  readonly most: number;
  readonly twiceMs: number;
  /** From the moment in which a machine wakes up, until the process of a VM that it may not run has ended. */
  readonly wokenMs?: number;
}

export async function runVmLossBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "1" },
      only: { type: "string", default: "" },
      driver: { type: "string", default: "auto" },
      json: { type: "boolean", default: false },
    },
  });
  const rounds = Number(values.rounds);
  const chosen = faults.filter(({ name }) => name.includes(values.only));
  const say = (text: string) => process.stderr.write(`bench: ${text}\n`);
  say(`${chosen.length} faults, about ${Math.ceil((chosen.length * rounds * roundSeconds) / 60)} minutes`);
  const runs: LossRun[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const fault of chosen) {
      const run = await measure(fault, values.driver);
      runs.push(run);
      say(`${fault.name}: ${values.json ? JSON.stringify(run) : `again after ${seconds(run.againMs)} s`}`);
    }
  }
  process.stdout.write(values.json ? `${JSON.stringify(runs, undefined, 2)}\n` : tableOfRuns(chosen, runs));
  const twice = runs.find(({ most }) => most > 1);
  if (twice === undefined) return;
  say(`two copies ran at once after: ${twice.fault}`);
  process.exitCode = 1;
}

async function measure(fault: Fault, driver: string): Promise<LossRun> {
  const cluster = await ProcessCluster.start({ binary, flags: ["--vm-driver", driver] });
  let vmId = "";
  const endAll = () => {
    for (const pid of vmId === "" ? [] : instanceProcesses(vmId)) process.kill(pid, "SIGKILL");
  };
  const release = cleanAtEnd(endAll);
  const client = cluster.client();
  let copies: Copies | undefined;
  try {
    await client.vms.create("web", { vcpus: 1, memoryMiB: 32, image: "demo", restartPolicy: "always" });
    const before = await client.vms.waitForPhase("web", ["Running"], { timeoutMs: patienceMs });
    vmId = before.vmId;
    const nodeId = before.node ?? 0;
    const [pid = 0] = instanceProcesses(vmId);
    copies = new Copies(vmId);
    const asked = cluster.client(cluster.nodes.find(({ id }) => id !== nodeId)?.id);
    const lost = { cluster, nodeId, vmId };
    try {
      copies.begin();
      const startedMs = performance.now();
      fault.begin(lost);
      const wokenMs = fault.frozenMs === undefined ? undefined : await thawLater(fault, fault.frozenMs, lost, pid);
      const again = await asked.vms.waitFor("web", "another process", isAgain(vmId, pid), { timeoutMs: patienceMs });
      const againMs = performance.now() - startedMs;
      if (fault.frozenMs === undefined) fault.thaw?.(lost);
      if (fault.thaw !== undefined) await sleep(thawMs);
      const endedMs = copies.endedMs(pid) ?? null;
      const where = again.node === nodeId ? "same node" : "another node";
      const run = { fault: fault.name, endedMs, againMs, where, most: copies.most, twiceMs: copies.twiceMs } as const;
      return wokenMs === undefined ? run : { ...run, wokenMs };
    } finally {
      fault.thaw?.(lost);
      asked.close();
    }
  } finally {
    await copies?.stop();
    client.close();
    await cluster.close();
    release();
  }
}

/** Wakes the machine, and resolves with how long the process ran on. */
async function thawLater(fault: Fault, frozenMs: number, lost: LostNode, pid: number): Promise<number> {
  await sleep(frozenMs);
  const wokenMs = performance.now();
  fault.thaw?.(lost);
  await sleep(sampleMs);
  while (runs(pid)) await sleep(sampleMs);
  return performance.now() - wokenMs;
}

/** The cluster says that it runs, and there is a process of it that is not the one of before. */
function isAgain(vmId: string, pid: number): (vm: VmRecord) => boolean {
  return ({ phase, guest }) =>
    phase === "Running" && guest === "ready" && instanceProcesses(vmId).some((other) => other !== pid);
}

function tableOfRuns(chosen: readonly Fault[], runs: readonly LossRun[]): string {
  const cells = chosen.map(({ name }) => {
    const own = runs.filter(({ fault }) => fault === name);
    const ended = own.flatMap(({ endedMs }) => endedMs ?? []);
    const woken = own.flatMap(({ wokenMs }) => wokenMs ?? []);
    const until = ended.length === 0 ? "it runs on" : seconds(median(ended));
    return [
      name,
      woken.length === 0 ? until : `${median(woken).toFixed(0)} ms after it woke up`,
      seconds(median(own.map(({ againMs }) => againMs))),
      [...new Set(own.map(({ where }) => where))].join(", "),
      `${Math.max(...own.map(({ most }) => most))}`,
      Math.max(...own.map(({ twiceMs }) => twiceMs)).toFixed(0),
    ];
  });
  return tableOf(["FAULT", "RUNS UNTIL, S", "AGAIN AFTER, S", "WHERE", "COPIES", "TWO FOR, MS"], cells);
}

const seconds = (ms: number) => (ms / 1_000).toFixed(1);
