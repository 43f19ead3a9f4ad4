import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BlixardClient, connectClient } from "@blixard/client";
import { BlixardError, sleep, withDeadline } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { NodeStatus } from "@blixard/protocol";
import { ProcessNode, type ProcessNodeOptions, type RestartOptions } from "./process-node.ts";

export interface ProcessClusterOptions {
  /** Path of the built binary, `apps/node/dist/main.js`. */
  readonly binary: string;
  /** Default: 3. */
  readonly nodes?: number;
  /** Default: a temporary directory that `close` removes. */
  readonly dataRoot?: string;
  /** Further flags for every node. */
  readonly flags?: readonly string[];
  /** Called with one line for people at each step. */
  readonly onProgress?: (text: string) => void;
  /** Time for the cluster to form, in milliseconds. Default: 120,000. */
  readonly formTimeoutMs?: number;
}

const pollIntervalMs = 50;
/** A client keeps to its node while that is killed and started again, however slow the machine is. */
const patience = { timeoutMs: 120_000, unreachableMs: 120_000 };

/** A cluster on loopback in which every node is a process of the real binary. */
export class ProcessCluster implements AsyncDisposable {
  readonly dataRoot: string;
  readonly #options: ProcessClusterOptions;
  readonly #nodes = new Map<number, ProcessNode>();
  #token = "";

  private constructor(options: ProcessClusterOptions, dataRoot: string) {
    this.#options = options;
    this.dataRoot = dataRoot;
  }

  /** Starts the nodes, the first as a new cluster and the others joining it, until all of them vote. */
  static async start(options: ProcessClusterOptions): Promise<ProcessCluster> {
    const dataRoot = options.dataRoot ?? (await mkdtemp(join(tmpdir(), "blixard-")));
    const cluster = new ProcessCluster(options, dataRoot);
    try {
      await cluster.#form(options.nodes ?? 3);
      return cluster;
    } catch (error) {
      const diagnostics = cluster.diagnostics();
      await cluster.close();
      throw new BlixardError("UNAVAILABLE", "the cluster did not form", { cause: error, hint: diagnostics });
    }
  }

  get nodes(): readonly ProcessNode[] {
    return [...this.#nodes.values()];
  }

  /** The administrator's token, which every node accepts. */
  get token(): string {
    return this.#token;
  }

  /** From now on clients show a token of no node: that of a node goes with its vote. */
  async useOwnToken(): Promise<void> {
    const client = this.client();
    this.#token = (await client.tokens.create({ role: "admin" })).token;
    client.close();
  }

  node(id: number): ProcessNode {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new BlixardError("NODE_NOT_FOUND", `this cluster has no node ${id}`);
    return node;
  }

  /** A client of one node, or one that finds its way among all of them. */
  client(id?: number): BlixardClient {
    const nodes = id === undefined ? this.nodes : [this.node(id)];
    const addresses = nodes.map(({ ready }) =>
      ready.http === "off" ? { address: ready.bind, pin: ready.endpointId } : ready.http,
    );
    return connectClient({ addresses, token: this.#token, ...patience });
  }

  /** Resolves with the leader's id once a running node knows one that runs. */
  async waitForLeader(timeoutMs = 120_000): Promise<number> {
    const status = await this.waitFor(
      "a leader",
      ({ leaderId }) => leaderId !== null && this.#nodes.get(leaderId)?.isRunning === true,
      timeoutMs,
    );
    return status.leaderId ?? 0;
  }

  /** Asks the running nodes for their status until `holds` for one of them. */
  async waitFor(what: string, holds: (status: NodeStatus) => boolean, timeoutMs = 120_000): Promise<NodeStatus> {
    try {
      return await withDeadline({ clock: systemClock, timeoutMs, what: `waiting for ${what}` }, async (signal) => {
        while (true) {
          for (const node of this.nodes.filter(({ isRunning }) => isRunning)) {
            const status = await this.status(node.id, signal).catch(() => undefined);
            if (status !== undefined && holds(status)) return status;
          }
          await sleep(systemClock, pollIntervalMs, signal);
        }
      });
    } catch (error) {
      throw new BlixardError("DEADLINE_EXCEEDED", `${what} did not come`, { cause: error, hint: this.diagnostics() });
    }
  }

  /** What a node says of itself, without a quorum. */
  async status(id: number, signal?: AbortSignal): Promise<NodeStatus> {
    const client = this.client(id);
    try {
      return await client.status({ timeoutMs: 2_000, ...(signal ? { signal } : {}) });
    } finally {
      client.close();
    }
  }

  /** Kills a node with SIGKILL; its data and its VMs stay. */
  async kill(id: number): Promise<void> {
    await this.node(id).stop("SIGKILL");
  }

  /** Starts a node again on its data, after stopping it if it runs: with SIGKILL unless told otherwise. */
  async restart(id: number, options: RestartOptions = {}): Promise<ProcessNode> {
    const node = await this.node(id).restart(options);
    this.#nodes.set(id, node);
    return node;
  }

  /** Adds one more node, which joins by address. */
  async addNode(id: number): Promise<ProcessNode> {
    const seed = this.nodes.find((node) => node.isRunning && node.id !== id);
    const options: ProcessNodeOptions = {
      binary: this.#options.binary,
      id,
      dataDir: join(this.dataRoot, `node-${id}`),
      flags: this.#options.flags ?? [],
    };
    const node = await ProcessNode.start(seed === undefined ? options : { ...options, join: seed.ready.bind });
    this.#nodes.set(id, node);
    this.#options.onProgress?.(`node ${id} serves at ${node.ready.bind} (process ${node.ready.pid})`);
    return node;
  }

  /** The last log lines of every node, for a failure's message. */
  diagnostics(): string {
    return this.nodes.map((node) => `--- node ${node.id}\n${node.stderrTail()}`).join("\n");
  }

  /** Stops every process with SIGTERM, and with SIGKILL after a grace; removes the data if it was temporary. */
  async close(flags: { readonly graceMs?: number } = {}): Promise<void> {
    await Promise.all(
      this.nodes.map(async (node) => {
        const timer = systemClock.setTimer(flags.graceMs ?? 15_000, () => node.signal("SIGKILL"));
        await node.stop("SIGTERM");
        timer.cancel();
      }),
    );
    if (this.#options.dataRoot === undefined) await rm(this.dataRoot, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #form(count: number): Promise<void> {
    const first = await this.addNode(1);
    this.#token = await first.token();
    for (let id = 2; id <= count; id++) await this.addNode(id);
    const ids = Array.from({ length: count }, (_, at) => at + 1);
    await this.waitFor(
      `${count} voting nodes and a leader`,
      ({ leaderId, members }) =>
        leaderId !== null && ids.every((id) => members.some((member) => member.id === id && member.role === "voter")),
      this.#options.formTimeoutMs ?? 120_000,
    );
  }
}
