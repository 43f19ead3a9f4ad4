/**
 * The process that loads: a closed loop of clients, each on one kept connection over a bare socket. It is a process of
 * its own, as cheap as Node.js gets, so that the servers are what is measured. It first fills what is read later, says
 * so, and waits for the word to begin.
 */
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { LatencySample } from "../statistics/latency.ts";
import { latencyBuckets } from "../statistics/latency-buckets.ts";
import { LoadClient, type LoadOrder } from "./load-client.ts";

export interface LoadResult {
  /** All of them, those of the warm-up too, but not those that filled. */
  readonly operations: number;
  readonly writes: number;
  /** Of the time after the warm-up, the first fifth. */
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly latencyBuckets: readonly (readonly [upperMs: number, count: number])[];
  readonly failures: number;
  readonly firstFailure?: string;
  /** With those that filled. */
  readonly writesByClient: readonly number[];
  readonly uncertainClients: readonly number[];
  readonly loadCpuSeconds: number;
}

/** What goes from the process that loads to the one that started it. */
export type LoadMessage = { readonly type: "filled" } | { readonly type: "done"; readonly result: LoadResult };
/** What goes the other way. */
export type LoadRequest = { readonly type: "order"; readonly order: LoadOrder } | { readonly type: "go" };

const warmUpShare = 0.2;
/** After the end of a round, for the answers that are still due. */
const graceMs = 15_000;

export async function runLoadProcess(): Promise<void> {
  const send = (message: LoadMessage) => process.send?.(message);
  const receive = () => new Promise<LoadRequest>((resolve) => process.once("message", resolve));
  const first = await receive();
  if (first.type !== "order") throw new Error("the order comes first");
  const { order } = first;
  const clients = Array.from({ length: order.plan.clients }, (_, at) => new LoadClient(order, at));
  await Promise.all(clients.map((client) => client.fill()));
  const told = receive();
  send({ type: "filled" });
  await told;
  send({ type: "done", result: await measure(order, clients) });
}

async function measure(order: LoadOrder, clients: readonly LoadClient[]): Promise<LoadResult> {
  const cpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  const countFromMs = startedMs + order.durationMs * warmUpShare;
  const endMs = startedMs + order.durationMs;
  const giveUp = new AbortController();
  const all = Promise.all(clients.map((client) => client.loop(countFromMs, endMs)));
  const late = sleep(order.durationMs + graceMs, undefined, { signal: giveUp.signal }).then(
    () => {
      for (const client of clients) client.fail("no answer in time");
    },
    () => {},
  );
  await all;
  giveUp.abort();
  await late;
  const countedMs = performance.now() - countFromMs;
  for (const client of clients) client.close();
  const { user, system } = process.cpuUsage(cpuBefore);
  const latencies = new LatencySample();
  for (const client of clients) for (const latencyMs of client.latenciesMs) latencies.add(latencyMs);
  const failures = clients.flatMap(({ failure }) => (failure === undefined ? [] : [failure]));
  const [firstFailure] = failures;
  return {
    operations: sum(clients.map(({ operations }) => operations)),
    writes: sum(clients.map(({ writes, filled }) => writes - filled)),
    perSecond: (latencies.count * 1_000) / countedMs,
    p50Ms: latencies.quantile(0.5),
    p99Ms: latencies.quantile(0.99),
    p999Ms: latencies.quantile(0.999),
    latencyBuckets: latencyBuckets(clients.flatMap(({ latenciesMs }) => latenciesMs)),
    failures: failures.length,
    ...(firstFailure === undefined ? {} : { firstFailure }),
    writesByClient: clients.map(({ writes }) => writes),
    uncertainClients: clients.flatMap(({ isUncertain }, at) => (isUncertain ? [at] : [])),
    loadCpuSeconds: (user + system) / 1e6,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
