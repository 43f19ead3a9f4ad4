import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BlixardClient, connectClient } from "@blixard/client";
import { BlixardError, messageOf, sleep, withDeadline } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { NodeStatus } from "@blixard/protocol";
import type { LanMachine } from "./lan.ts";
import { ProcessNode, type ProcessNodeOptions, type RestartOptions } from "./process-node.ts";

export interface ProcessClusterOptions {
  /** Path of the built binary, `apps/node/dist/bundle/main.js`. */
  readonly binary: string;
  /** Default: 3. */
  readonly nodes?: number;
  /** Where the nodes run, the one with id 1 in the first. Default: all of them on loopback. */
  readonly machines?: readonly Pick<LanMachine, "namespace" | "host">[];
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

/** A cluster in which every node is a process of the real binary: on loopback, or each in a network namespace. */
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
    const heard = new Map<number, string>();
    try {
      return await withDeadline({ clock: systemClock, timeoutMs, what: `waiting for ${what}` }, async (signal) => {
        while (true) {
          for (const node of this.nodes) {
            const status = node.isRunning ? await this.status(node.id, signal).catch(messageOf) : "it has ended";
            heard.set(node.id, typeof status === "string" ? status : inShort(status));
            if (typeof status !== "string" && holds(status)) return status;
          }
          await sleep(systemClock, pollIntervalMs, signal);
        }
      });
    } catch (error) {
      const last = [...heard].map(([id, text]) => `\n  node ${id}: ${text}`).join("");
      throw new BlixardError("DEADLINE_EXCEEDED", `${what} did not come; heard last:${last}`, {
        cause: error,
        hint: this.diagnostics(),
      });
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

  /** Adds one more node. */
  async addNode(id: number): Promise<ProcessNode> {
    const seed = this.nodes.find((node) => node.isRunning && node.id !== id);
    const { binary, flags = [], machines } = this.#options;
    const options: ProcessNodeOptions = {
      ...{ binary, id, dataDir: join(this.dataRoot, `node-${id}`), flags },
      ...(machines === undefined ? {} : placedOn(machines[id - 1], flags)),
    };
    const node = await ProcessNode.start(seed === undefined ? options : { ...options, join: await this.#wayIn(seed) });
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

  /** Beside a node on loopback its address is enough; from another machine it takes a ticket. */
  async #wayIn(seed: ProcessNode): Promise<string> {
    if (this.#options.machines === undefined) return seed.ready.bind;
    const client = this.client(seed.id);
    try {
      return (await client.tickets.create({ role: "voter" })).ticket;
    } finally {
      client.close();
    }
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

/** Its leader, and where it sees each member, on a line. */
function inShort({ leaderId, members }: NodeStatus): string {
  const seen = members.map(({ id, role, path, addresses }) => `${id} ${role} ${path} ${addresses.join()}`);
  return `leader ${leaderId ?? "none"}, members ${seen.join("; ")}`;
}

/** A node serves on the address of its machine, where this process can reach it. */
function placedOn(
  machine: Pick<LanMachine, "namespace" | "host"> | undefined,
  flags: readonly string[],
): Pick<ProcessNodeOptions, "networkNamespace" | "bind" | "flags"> {
  if (machine === undefined) throw new BlixardError("INVALID_ARGUMENT", "there is no machine for so many nodes");
  const { namespace, host } = machine;
  const http = flags.includes("--http") ? [] : ["--http", `${host}:0`];
  return { networkNamespace: namespace, bind: `${host}:0`, flags: [...flags, ...http] };
}
