/** What one change of one VM costs all nodes, where there are few records and where there are many. */
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import type { BlixardClient } from "@blixard/client";
import { ProcessCluster } from "@blixard/testing";
import { processUsage } from "../proc/process-usage.ts";
import { binary } from "../sides/binary.ts";
import type { Measured } from "./measured.ts";

const fewRecords = 100;
const atOnce = 16;
const toldRecords = 500;
const idleMs = 5_000;
/** A snapshot of the state, and what the store tidies up, come some seconds after the last change. */
const settleMs = 15_000;
const timeoutMs = 60_000;
const spec = { image: "builtin/nano", memoryMiB: 16, networks: [] };

interface Cost {
  readonly records: number;
  readonly listMs: number;
  /** Of all nodes, for a VM that is started and stopped again. */
  readonly changeUs: number;
  readonly idlePercent: number;
  readonly rssMiB: number;
}

export async function measureRecords(of: { readonly records: number; readonly changes: number }): Promise<Measured> {
  const cluster = await ProcessCluster.start({ binary, flags: ["--vm-driver", "fake"] });
  const client = cluster.client();
  try {
    await create(client, 0, fewRecords);
    const few = await costAt(cluster, client, fewRecords, of.changes);
    const startedMs = performance.now();
    await create(client, fewRecords, of.records);
    const createdPerSecond = (1_000 * (of.records - fewRecords)) / (performance.now() - startedMs);
    const many = await costAt(cluster, client, of.records, of.changes);
    const rows = [few, many].map(({ records, listMs, changeUs, idlePercent, rssMiB }) => [
      ...[String(records), listMs.toFixed(0), changeUs.toFixed(0), idlePercent.toFixed(1), rssMiB.toFixed(0)],
    ]);
    rows.push(["ratio", "", `${(many.changeUs / few.changeUs).toFixed(2)}x`, "", ""]);
    rows.push([`${createdPerSecond.toFixed(0)} created/s`, "", "", "", ""]);
    return {
      header: ["RECORDS", "LIST MS", "CPU US A START AND STOP", "IDLE % OF A CORE, ALL NODES", "RSS MIB, LARGEST NODE"],
      rows,
      raw: { few, many, createdPerSecond },
    };
  } finally {
    client.close();
    await cluster.close();
  }
}

/** Records of VMs that are not started. */
async function create(client: BlixardClient, from: number, to: number): Promise<void> {
  let next = from;
  const startedMs = performance.now();
  const work = async () => {
    for (let at = next++; at < to; at = next++) {
      if (at > from && (at - from) % toldRecords === 0) {
        const perSecond = (1_000 * (at - from)) / (performance.now() - startedMs);
        const minutes = Math.ceil((to - at) / perSecond / 60);
        process.stderr.write(
          `bench: ${at} of ${to} records, ${perSecond.toFixed(0)}/s, about ${minutes} minutes more\n`,
        );
      }
      await client.vms.create(`vm-${at}`, spec, { desired: "stopped", timeoutMs });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

async function costAt(cluster: ProcessCluster, client: BlixardClient, records: number, changes: number): Promise<Cost> {
  const usages = () => cluster.nodes.map(({ ready }) => processUsage(ready.pid));
  const cpuUs = () => usages().reduce((sum, { cpuSeconds }) => sum + cpuSeconds * 1e6, 0);
  await change(client, changes);
  const beforeUs = cpuUs();
  await change(client, changes);
  const changeUs = (cpuUs() - beforeUs) / changes;
  await sleep(settleMs);
  const idleUs = -cpuUs();
  await sleep(idleMs);
  const idlePercent = (100 * (idleUs + cpuUs())) / (idleMs * 1_000);
  const startedMs = performance.now();
  const listed = await client.vms.list({ timeoutMs });
  const listMs = performance.now() - startedMs;
  if (listed.length !== records) throw new Error(`${listed.length} VMs are listed instead of ${records}`);
  return { records, listMs, changeUs, idlePercent, rssMiB: Math.max(...usages().map(({ rssMiB }) => rssMiB)) };
}

async function change(client: BlixardClient, changes: number): Promise<void> {
  for (let at = 0; at < changes; at++) {
    const name = `vm-${at}`;
    await client.vms.start(name, { timeoutMs });
    await client.vms.waitForPhase(name, ["Running"], { timeoutMs });
    await client.vms.stop(name, { timeoutMs });
    await client.vms.waitForPhase(name, ["Stopped"], { timeoutMs });
  }
}
