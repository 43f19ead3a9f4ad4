/** Processes of the binary. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { BlixardClient } from "@blixard/client";
import { ProcessCluster } from "@blixard/testing";
import { cleanAtEnd } from "../proc/endings.ts";
import { sumOfMetric } from "../proc/metrics-text.ts";
import { type ListedPage, type Side, type SideOptions, untilWritable } from "./side.ts";

const complaints = [
  ["links cut", /nothing was heard for/],
  ["disk blamed", /a disk \w+ takes long/],
  ["ended", /the node stops/],
] as const;

const callTimeoutMs = 60_000;
const pageKeys = 1_000;

export interface BlixardSideOptions extends SideOptions {
  /** Default: `blixard`. */
  readonly name?: string;
  /** Path of the built binary, `apps/node/dist/bundle/main.js`. */
  readonly binary: string;
  /** Default: `iroh`. */
  readonly transport?: string;
  /** Further flags of every node. */
  readonly flags?: readonly string[];
}

export async function startBlixard(options: BlixardSideOptions): Promise<BlixardSide> {
  const { binary, nodes, transport = "iroh", onProgress } = options;
  const flags = ["--vm-driver", "fake", "--log-level", "info", "--log-format", "json", "--no-relay", "--no-discovery"];
  flags.push("--transport", transport, ...(options.flags ?? []));
  const dataRoot = mkdtempSync(join(tmpdir(), "blixard-"));
  const removeData = cleanAtEnd(() => rmSync(dataRoot, { recursive: true, force: true }));
  try {
    const progress = onProgress === undefined ? {} : { onProgress };
    const cluster = await ProcessCluster.start({ binary, nodes, flags, dataRoot, ...progress });
    const side = new BlixardSide(options.name ?? "blixard", cluster, removeData);
    await untilWritable(
      side,
      cluster.nodes.map((_, node) => node),
    );
    return side;
  } catch (error) {
    removeData();
    throw error;
  }
}

const inspectorWaitMs = 30_000;

export class BlixardSide implements Side {
  readonly name: string;
  readonly dialect = "blixard";
  readonly recovers = true;
  readonly endpoints: Side["endpoints"];
  readonly #cluster: ProcessCluster;
  readonly #clients: readonly BlixardClient[];
  readonly #removeData: () => void;

  constructor(name: string, cluster: ProcessCluster, removeData: () => void) {
    this.#removeData = removeData;
    this.name = name;
    this.#cluster = cluster;
    this.endpoints = cluster.nodes.map(({ ready }) => {
      const { hostname, port } = new URL(ready.http);
      return { host: hostname, port: Number(port), token: cluster.token };
    });
    this.#clients = cluster.nodes.map(({ id }) => cluster.client(id));
  }

  pids(): readonly number[] {
    return this.#cluster.nodes.map(({ ready }) => ready.pid);
  }

  async put(node: number, key: string, value: string): Promise<void> {
    await this.#clients[node]?.kv.put(key, value);
  }

  async list(prefix: string, after: string): Promise<ListedPage> {
    const query = new URLSearchParams({ prefix, limit: String(pageKeys), ...(after === "" ? {} : { after }) });
    const answer = JSON.parse(await this.#get(0, `/v1/kv?${query}`)) as {
      readonly items: readonly { readonly key: string; readonly value: string }[];
      readonly next?: string;
    };
    const entries = answer.items.map(({ key, value }) => [key, value] as const);
    return answer.next === undefined ? { entries } : { entries, next: answer.next };
  }

  async leader(): Promise<number> {
    const id = await this.#cluster.waitForLeader();
    return this.#cluster.nodes.findIndex((node) => node.id === id);
  }

  async term(): Promise<number> {
    const running = this.#cluster.nodes.flatMap(({ isRunning }, at) => (isRunning ? [this.#clients[at]] : []));
    const statuses = await Promise.all(running.map((client) => client?.status({ timeoutMs: callTimeoutMs })));
    return Math.max(...statuses.map((status) => status?.term ?? 0));
  }

  async metrics(node: number): Promise<string> {
    return await this.#get(node, "/metrics");
  }

  async wireBytes(): Promise<number> {
    const pages = await Promise.all(this.endpoints.map((_, node) => this.metrics(node)));
    return pages.reduce((sum, page) => sum + sumOfMetric(page, "blixard_transport_wire_sent_bytes_total"), 0);
  }

  async kill(node: number): Promise<void> {
    await this.#cluster.kill(this.#idOf(node));
  }

  async restart(nodes: readonly number[]): Promise<void> {
    await Promise.all(nodes.map((node) => this.#cluster.restart(this.#idOf(node))));
    await untilWritable(this, nodes);
  }

  notes(): readonly string[] {
    const log = this.#cluster.nodes.flatMap((node) => node.stderrTail(Number.POSITIVE_INFINITY).split("\n"));
    return complaints.map(([name, pattern]) => `${name} ${log.filter((line) => pattern.test(line)).length}`);
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.#cluster.close();
    this.#removeData();
  }

  /** Opens the inspector of a node, and resolves with its address. */
  async inspectorUrl(node: number): Promise<string> {
    const running = this.#cluster.nodes[node];
    running?.signal("SIGUSR1");
    const endMs = performance.now() + inspectorWaitMs;
    for (;;) {
      const log = running?.stderrTail(Number.POSITIVE_INFINITY) ?? "";
      const [, url] = /^Debugger listening on (ws:\S+)/m.exec(log) ?? [];
      if (url !== undefined) return url;
      if (performance.now() > endMs) throw new Error(`the inspector of node ${node} did not open`);
      await sleep(50);
    }
  }

  #idOf(node: number): number {
    return this.#cluster.nodes[node]?.id ?? 0;
  }

  async #get(node: number, path: string): Promise<string> {
    const { host, port, token } = this.endpoints[node] ?? { host: "", port: 0 };
    const response = await fetch(`http://${host}:${port}${path}`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(callTimeoutMs),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path} was answered with ${response.status}: ${text.slice(0, 200)}`);
    return text;
  }
}
