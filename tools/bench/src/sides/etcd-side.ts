/** Processes of etcd on loopback, to measure beside. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cleanAtEnd } from "../proc/endings.ts";
import { sumOfMetric } from "../proc/metrics-text.ts";
import { type ListedPage, type Side, type SideOptions, untilWritable } from "./side.ts";

const callTimeoutMs = 60_000;
const statusTimeoutMs = 2_000;
const leaderTimeoutMs = 60_000;
const pageKeys = 1_000;

export interface EtcdSideOptions extends SideOptions {
  readonly binary: string;
}

/** The version of etcd; undefined where there is none that runs. */
export function etcdVersion(binary: string): string | undefined {
  const { status, stdout } = spawnSync(binary, ["--version"], { encoding: "utf8" });
  return status === 0 ? /etcd Version: (\S+)/.exec(stdout)?.[1] : undefined;
}

/** For people who have none. */
export function etcdMissing(binary: string): string {
  return (
    `'${binary}' does not run, and etcd is what is measured beside. On Debian and Ubuntu: apt-get install etcd-server; ` +
    "elsewhere take the binary of a release of etcd-io/etcd and name it with --etcd PATH"
  );
}

/** Starts a cluster of `binary` with its defaults: a heartbeat every 100 ms, an election after 1 s without one. */
export async function startEtcd(options: EtcdSideOptions): Promise<Side> {
  const dataRoot = mkdtempSync(join(tmpdir(), "etcd-"));
  const ports = await freePorts(2 * options.nodes);
  const side = new EtcdSide(options.binary, dataRoot, ports);
  try {
    await side.restart(ports.filter((_, at) => at % 2 === 0).map((_, at) => at));
    options.onProgress?.(`etcd serves on ${side.endpoints.map(({ port }) => port).join(", ")}`);
    return side;
  } catch (error) {
    await side.close();
    throw error;
  }
}

interface Member {
  readonly name: string;
  readonly client: string;
  readonly peer: string;
  child?: ChildProcess;
}

interface EtcdStatus {
  readonly header: { readonly member_id: string };
  readonly leader?: string;
  readonly raftTerm: string;
}

class EtcdSide implements Side {
  readonly name = "etcd";
  readonly dialect = "etcd";
  readonly recovers = true;
  readonly endpoints: Side["endpoints"];
  readonly #binary: string;
  readonly #dataRoot: string;
  readonly #members: readonly Member[];
  readonly #removeData: () => void;

  constructor(binary: string, dataRoot: string, ports: readonly number[]) {
    this.#binary = binary;
    this.#dataRoot = dataRoot;
    this.#removeData = cleanAtEnd(() => rmSync(dataRoot, { recursive: true, force: true }));
    const pairs = Array.from({ length: ports.length / 2 }, (_, at) => [ports[2 * at] ?? 0, ports[2 * at + 1] ?? 0]);
    this.endpoints = pairs.map(([port = 0]) => ({ host: "127.0.0.1", port }));
    this.#members = pairs.map(([client, peer], at) => ({
      name: `n${at + 1}`,
      client: `http://127.0.0.1:${client}`,
      peer: `http://127.0.0.1:${peer}`,
    }));
  }

  pids(): readonly number[] {
    return this.#members.map(({ child }) => child?.pid ?? 0);
  }

  async put(node: number, key: string, value: string): Promise<void> {
    await this.#post(node, "/v3/kv/put", { key: base64(key), value: base64(value) });
  }

  async list(prefix: string, after: string): Promise<ListedPage> {
    const from = after === "" ? prefix : `${after}\0`;
    // The end of a range is not part of it: all keys with the prefix come before the prefix with a greater last byte.
    const end = Buffer.from(prefix);
    end[end.length - 1] = (end[end.length - 1] ?? 0) + 1;
    const request = { key: base64(from), range_end: end.toString("base64"), limit: String(pageKeys) };
    const answer = (await this.#post(0, "/v3/kv/range", request)) as {
      readonly kvs?: readonly { readonly key: string; readonly value: string }[];
      readonly more?: boolean;
    };
    const text = (encoded: string) => Buffer.from(encoded, "base64").toString();
    const entries = (answer.kvs ?? []).map(({ key, value }) => [text(key), text(value)] as const);
    const last = entries.at(-1)?.[0];
    return answer.more === true && last !== undefined ? { entries, next: last } : { entries };
  }

  async leader(): Promise<number> {
    const endMs = performance.now() + leaderTimeoutMs;
    for (;;) {
      const statuses = await this.#statuses();
      const at = statuses.findIndex((status) => status !== undefined && status.leader === status.header.member_id);
      if (at >= 0) return at;
      if (performance.now() > endMs) throw new Error("no member of etcd leads");
      await sleep(50);
    }
  }

  async term(): Promise<number> {
    return Math.max(...(await this.#statuses(callTimeoutMs)).map((status) => Number(status?.raftTerm ?? 0)));
  }

  async metrics(node: number): Promise<string> {
    const answer = await fetch(`${this.#members[node]?.client}/metrics`, {
      signal: AbortSignal.timeout(callTimeoutMs),
    });
    return await answer.text();
  }

  async wireBytes(): Promise<number> {
    const pages = await Promise.all(this.#members.map((_, node) => this.metrics(node)));
    return pages.reduce((sum, page) => sum + sumOfMetric(page, "etcd_network_peer_sent_bytes_total"), 0);
  }

  async kill(node: number): Promise<void> {
    const child = this.#members[node]?.child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  async restart(nodes: readonly number[]): Promise<void> {
    const all = this.#members.map(({ name, peer }) => `${name}=${peer}`).join(",");
    for (const node of nodes) {
      const member = this.#members[node];
      if (member === undefined) continue;
      const { name, client, peer } = member;
      const args = [
        "--name",
        name,
        "--data-dir",
        join(this.#dataRoot, name),
        "--logger",
        "zap",
        "--log-level",
        "error",
      ];
      args.push("--listen-client-urls", client, "--advertise-client-urls", client);
      args.push("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", all);
      const child = spawn(this.#binary, args, { stdio: "ignore" });
      // A failure to start shows in that no write through it is ever acknowledged.
      child.on("error", () => {});
      member.child = child;
    }
    await untilWritable(this, nodes);
  }

  notes(): readonly string[] {
    return [];
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map((_, node) => this.kill(node)));
    this.#removeData();
  }

  async #statuses(timeoutMs = statusTimeoutMs): Promise<(EtcdStatus | undefined)[]> {
    const ask = async (node: number) =>
      (await this.#post(node, "/v3/maintenance/status", {}, timeoutMs)) as unknown as EtcdStatus;
    return await Promise.all(this.#members.map((_, node) => ask(node).catch(() => undefined)));
  }

  async #post(node: number, path: string, body: unknown, timeoutMs = callTimeoutMs): Promise<Record<string, unknown>> {
    const response = await fetch(`${this.#members[node]?.client}${path}`, {
      method: "POST",
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    if (!response.ok) throw new Error(`etcd answered ${response.status}: ${JSON.stringify(answer)}`);
    return answer;
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
