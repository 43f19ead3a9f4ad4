/** A cluster of real processes with a node of each role, what is to be stolen or destroyed in it, and how it looks. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BlixardClient, connectClient } from "@blixard/client";
import { fromHex, sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { instanceProcesses, ProcessNode } from "@blixard/testing";
import type { Peer } from "@blixard/transport";
import { builtBinary } from "../binary.ts";
import type { WallRole } from "./call-wall.ts";

/** What VMs and volumes take of a node is seen in these. */
const withoutUse = { vms: 0, usedMemoryMiB: 0, usedVcpus: 0, promisedDiskMiB: 0 };

/** The nodes that run until the end, and those whose keys are stolen. Three of five votes are with the first. */
export const living = [1, 2, 3] as const;
export const stolen = { voter: 4, witness: 5, learner: 6, worker: 7, removed: 8 } as const;
const joining = [
  ...["voter", "voter", "voter", "witness", "learner", "worker"].map((role, at) => [at + 2, role] as const),
  // It is removed before its key is used.
  [stolen.removed, "worker"] as const,
];

/** Terms stand still while nothing happens to them, however slow the machine is. */
const timing = ["--heartbeat-ms", "500", "--election-timeout-ms", "10000"];
const flags = [
  ...["--vm-driver", "embedded", "--stop-vms", "--debug-api", "--join-policy", "approve"],
  ...["--transport", "dual", "--no-relay", "--no-discovery", ...timing],
];
const env = { NODE_OPTIONS: "" };

/** What a node says of itself and, where it leads, of the cluster. Equal pictures show the same cluster. */
export interface Picture {
  readonly [part: string]: unknown;
}

export class WallCluster {
  readonly #root: string;
  readonly #nodes: ReadonlyMap<number, ProcessNode>;
  readonly #clients: ReadonlyMap<number, BlixardClient>;
  readonly vmId: string;

  private constructor(root: string, nodes: ReadonlyMap<number, ProcessNode>, token: string, vmId: string) {
    this.#root = root;
    this.#nodes = nodes;
    this.vmId = vmId;
    this.#clients = new Map(
      living.map((id) => [id, connectClient({ addresses: [this.node(id).ready.http], token, timeoutMs: 60_000 })]),
    );
  }

  static async start(): Promise<WallCluster> {
    const root = await mkdtemp(join(tmpdir(), "blixard-wall-"));
    const binary = builtBinary();
    const start = (id: number, ticket?: string) =>
      ProcessNode.start({
        ...{ binary, id, dataDir: join(root, String(id)), flags, env },
        ...(ticket === undefined ? {} : { join: ticket }),
      });
    const first = await start(1);
    const client = connectClient({ addresses: [first.ready.http], token: await first.token(), timeoutMs: 60_000 });
    // There is no other node yet, so this one runs the VM.
    const { vm } = await client.vms.create("prey", { vcpus: 1, memoryMiB: 64, image: "demo" });
    const others = await Promise.all(
      joining.map(async ([id, role]) => {
        const { ticket } = await client.tickets.create({ role } as { readonly role: "voter" });
        return [id, await start(id, ticket)] as const;
      }),
    );
    const nodes = new Map([[1, first] as const, ...others]);
    const cluster = new WallCluster(root, nodes, await first.token(), vm.vmId);
    await client.vms.waitForPhase("prey", ["Running"], { timeoutMs: 120_000 });
    await until("all votes", async () => {
      const { members } = await client.status();
      return members.filter(({ role }) => role === "voter").length === 4 && members.length === 8;
    });
    client.close();
    return cluster;
  }

  node(id: number): ProcessNode {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new Error(`there is no node ${id}`);
    return node;
  }

  client(id = 1): BlixardClient {
    const client = this.#clients.get(id);
    if (client === undefined) throw new Error(`node ${id} is not one of those that stay`);
    return client;
  }

  peer(id: number): Peer {
    const { endpointId, bind } = this.node(id).ready;
    return { nodeId: id, endpointId, addresses: [bind] };
  }

  /** Removes the node that is to be removed, ends the others whose keys are stolen, and gives the keys. */
  async steal(): Promise<ReadonlyMap<WallRole, Uint8Array>> {
    await this.client().members.remove(stolen.removed, false);
    await this.node(stolen.removed).exited;
    const keys = new Map<WallRole, Uint8Array>();
    for (const [role, id] of Object.entries(stolen) as [WallRole, number][]) {
      await this.node(id).stop("SIGKILL");
      const text = await readFile(join(this.#root, String(id), "node.key"), "utf8");
      keys.set(role, fromHex(text.trim()) ?? new Uint8Array());
    }
    // What goes wrong with the session of a process that is gone would end the connections of its key as well.
    await until("the end of the sessions of the stolen nodes", async () => {
      const all = await Promise.all(living.map((id) => this.client(id).status()));
      const others = all.flatMap(({ members }) => members.filter(({ id }) => !living.some((one) => one === id)));
      return others.every(({ path }) => path === "none");
    });
    return keys;
  }

  /** How often a node refused Raft messages, by type and role of the sender. */
  async refused(id: number): Promise<ReadonlyMap<string, number>> {
    const headers = { authorization: `Bearer ${await this.node(1).token()}` };
    const text = await (await fetch(`${this.node(id).ready.http}/metrics`, { headers })).text();
    const line = /^blixard_raft_messages_refused_total\{([^}]*)\} (\d+)/gm;
    return new Map(
      [...text.matchAll(line)].map(([, labels = "", count]) => {
        const label = (name: string) => new RegExp(`\\b${name}="([^"]*)"`).exec(labels)?.[1] ?? "";
        return [`${label("type")} of a ${label("role")}`, Number(count)];
      }),
    );
  }

  /** The cluster as it is once nothing is under way. */
  async picture(): Promise<Picture> {
    const settled = async () => {
      const all = await Promise.all(living.map((id) => this.client(id).status()));
      const indexes = new Set(all.flatMap(({ appliedIndex, lastLogIndex }) => [appliedIndex, lastLogIndex]));
      return indexes.size === 1 && all.every(({ leaderId }) => leaderId !== null) ? all : undefined;
    };
    const statuses = await until("the log to be applied everywhere", settled);
    const index = statuses[0]?.appliedIndex ?? 0;
    const client = this.client();
    const [tokens, tickets, vms, images, bans, networks, securityGroups, nodes, kv] = await Promise.all([
      ...[
        client.tokens.list(),
        client.tickets.list(),
        client.vms.list(),
        client.images.list(),
        client.bans.list(),
        client.networks.list(),
        client.securityGroups.list(),
      ],
      ...[client.nodes.list(), client.kv.list().then(({ items }) => items)],
    ]);
    // What their nodes say of them comes when it comes.
    const volumes = (await client.volumes.list()).flatMap(({ name, sizeGiB, state }) =>
      state === "deleting" ? [] : [{ name, sizeGiB }],
    );
    const ofEach = <T>(of: (id: number) => Promise<T>) => Promise.all(living.map(of));
    return {
      leader: statuses.map(({ term, leaderId }) => ({ term, leaderId })),
      log: await ofEach(async (id) => this.client(id).cluster.stateHash(index)),
      members: statuses.map(({ members }) => members.map(({ id, role, endpointId }) => ({ id, role, endpointId }))),
      nodes: (nodes as readonly object[]).map((node) => ({ ...node, state: "", paths: [], ...withoutUse })),
      ...{ tokens, tickets, vms, images, bans, kv, volumes, networks, securityGroups },
      certificates: await ofEach(async (id) =>
        (await this.client(id).certificates.list("node")).map(({ fingerprint }) => fingerprint),
      ),
      processes: [
        ...living.map((id) => (this.node(id).isRunning ? this.node(id).ready.pid : 0)),
        ...instanceProcesses(this.vmId),
      ],
    };
  }

  /** The last nodes to go take the VM with them. */
  async close(): Promise<void> {
    for (const client of this.#clients.values()) client.close();
    await Promise.all([...this.#nodes.values()].map((node) => node.stop(node.id === 1 ? "SIGTERM" : "SIGKILL")));
    await rm(this.#root, { recursive: true, force: true });
  }
}

/** Asks until there is an answer. */
export async function until<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
  const endMs = systemClock.monotonicMs() + 60_000;
  while (systemClock.monotonicMs() < endMs) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    await sleep(systemClock, 20);
  }
  throw new Error(`waited in vain for ${what}`);
}
