import { performance } from "node:perf_hooks";
import { errorCodeOf } from "@blixard/common";
import type { ProcessCluster } from "@blixard/testing";
import { LatencySample } from "../statistics/latency.ts";

export interface WriteRun {
  readonly clients: number;
  readonly writesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failures: number;
}

const valueText = "v".repeat(100);

/**
 * Closed loop: each client sends one committed key-value write after the other, client n to node n modulo the number of
 * nodes, so that followers forward their share. The first fifth of the time warms up and is not counted; not so
 * while something else runs `beside`: then all of its time counts, and ends the run.
 */
export async function measureWrites(
  cluster: ProcessCluster,
  clients: number,
  durationMs: number,
  beside?: Promise<unknown>,
): Promise<WriteRun> {
  const latency = new LatencySample();
  let failures = 0;
  const startedMs = performance.now();
  const countFromMs = beside === undefined ? startedMs + durationMs / 5 : startedMs;
  let endMs = startedMs + durationMs;
  beside?.finally(() => {
    endMs = Math.min(endMs, performance.now());
  });
  const connections = cluster.nodes.map(({ id }) => cluster.client(id));
  const loop = async (client: number) => {
    const connection = connections[client % connections.length];
    for (let n = 0; performance.now() < endMs; n++) {
      const sentMs = performance.now();
      try {
        await connection?.kv.put(`bench/${client}/${n % 100}`, valueText);
        if (sentMs >= countFromMs) latency.add(performance.now() - sentMs);
      } catch (error) {
        failures++;
        if (errorCodeOf(error) === "UNAUTHENTICATED") throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, client) => loop(client)));
  const countedMs = performance.now() - countFromMs;
  for (const connection of connections) connection.close();
  return {
    clients,
    writesPerSecond: (latency.count * 1000) / countedMs,
    p50Ms: latency.quantile(0.5),
    p99Ms: latency.quantile(0.99),
    failures,
  };
}
