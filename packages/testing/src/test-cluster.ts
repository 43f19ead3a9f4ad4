import { type BlixardClient, connectClient } from "@blixard/client";
import { BlixardError, messageOf, sleep, withDeadline } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import type { NodeStatus } from "@blixard/protocol";
import type { NodeConfig } from "@blixard/server";
import { createMemoryNetwork, type MemoryNetwork } from "@blixard/transport/memory";
import { TestNode, type TestTransport } from "./test-node.ts";

const pollIntervalMs = 25;
const waitTimeoutMsDefault = 120_000;

export interface TestClusterOptions {
  /** Default: 3. */
  readonly nodes?: number;
  /** Default: "iroh". */
  readonly transport?: TestTransport;
  /** Further settings of every node. */
  readonly config?: Partial<NodeConfig>;
}

/** Makes a cluster step by step; `build` forms it. */
export class TestClusterBuilder {
  #options: TestClusterOptions = {};

  withNodes(nodes: number): this {
    this.#options = { ...this.#options, nodes };
    return this;
  }
  withTransport(transport: TestTransport): this {
    this.#options = { ...this.#options, transport };
    return this;
  }
  withConfig(config: Partial<NodeConfig>): this {
    this.#options = { ...this.#options, config: { ...this.#options.config, ...config } };
    return this;
  }

  /** Forms the cluster; resolves when all nodes vote and one leads. */
  build(): Promise<TestCluster> {
    return TestCluster.form(this.#options);
  }
}

/** A cluster of whole nodes inside this process. A wait that takes too long fails with the logs of every node. */
export class TestCluster implements AsyncDisposable {
  readonly #options: TestClusterOptions;
  /** What connects nodes over memory. */
  readonly network: MemoryNetwork = createMemoryNetwork({ clock: systemClock, random: systemRandom });
  readonly #nodes = new Map<number, TestNode>();

  private constructor(options: TestClusterOptions) {
    this.#options = options;
  }

  static builder(): TestClusterBuilder {
    return new TestClusterBuilder();
  }

  static async form(options: TestClusterOptions = {}): Promise<TestCluster> {
    const cluster = new TestCluster(options);
    try {
      for (let n = 0; n < (options.nodes ?? 3); n++) await cluster.addNode();
      return cluster;
    } catch (error) {
      await cluster.shutdown();
      throw error;
    }
  }

  get nodes(): readonly TestNode[] {
    return [...this.#nodes.values()];
  }

  nodeCount(): number {
    return this.#nodes.size;
  }

  node(id: number): TestNode {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new BlixardError("NODE_NOT_FOUND", `this cluster has no node ${id}`);
    return node;
  }

  /**
   * The node that takes itself for the leader, and that a majority of the running nodes follows in the same term: those that
   * were cut off from it do not count, although they may not know yet that they have lost it.
   */
  async waitForLeader(timeoutMs = waitTimeoutMsDefault): Promise<TestNode> {
    const leader = await this.waitFor(
      "a leader",
      (statuses) => {
        const found = statuses.find(
          (status) => status.role === "leader" && this.#followers(statuses, status) * 2 > statuses.length,
        );
        return found?.nodeId;
      },
      timeoutMs,
    );
    return this.node(leader);
  }

  /** A client of the present leader. Yours to close. */
  async leaderClient(): Promise<BlixardClient> {
    return await (await this.waitForLeader()).client();
  }

  /** A client that finds its way among all running nodes. Yours to close. */
  async client(): Promise<BlixardClient> {
    const nodes = this.nodes.filter((node) => node.isRunning());
    const first = nodes[0];
    if (first === undefined) throw new BlixardError("UNAVAILABLE", "no node of this cluster runs");
    return connectClient({ addresses: nodes.map(({ http }) => http), token: await first.token(), timeoutMs: 60_000 });
  }

  /** Starts one more node, which joins with a ticket; resolves when it votes. */
  async addNode(): Promise<TestNode> {
    const id = Math.max(0, ...this.#nodes.keys()) + 1;
    const { transport = "iroh", config = {} } = this.#options;
    const shared = { id, transport, network: this.network, config };
    if (this.#nodes.size === 0) {
      this.#nodes.set(id, await TestNode.start(shared));
      await this.waitForLeader();
      return this.node(id);
    }
    const client = await this.leaderClient();
    const { ticket } = await client.tickets.create({ role: "voter" });
    client.close();
    const node = await TestNode.start({ ...shared, join: ticket });
    this.#nodes.set(id, node);
    await this.waitFor(`node ${id} to vote`, (statuses) => statuses.some((status) => votes(status, id)) || undefined);
    return node;
  }

  /** Removes a node from the membership and stops it. */
  async removeNode(id: number): Promise<void> {
    const node = this.node(id);
    const client = await this.leaderClient();
    const members = await client.members.list();
    if (members.some((member) => member.id === id)) await client.members.remove(id);
    client.close();
    this.#nodes.delete(id);
    await node.dispose();
  }

  /** Cuts the traffic between two groups of nodes; the second is everybody else unless given. */
  partition(group: readonly number[], others: readonly number[] = this.#othersThan(group)): void {
    for (const [side, far] of [
      [group, others],
      [others, group],
    ] as const) {
      const endpointIds = far.map((id) => this.node(id).endpointId);
      for (const id of side) this.node(id).setBlocked(endpointIds);
    }
  }

  /** Lets all traffic pass again. */
  heal(): void {
    for (const node of this.nodes) node.setBlocked([]);
  }

  /** Asks the running nodes for their status until `find` gives something for them. */
  async waitFor<T>(
    what: string,
    find: (statuses: readonly NodeStatus[]) => T | undefined,
    timeoutMs = waitTimeoutMsDefault,
  ): Promise<T> {
    try {
      return await withDeadline({ clock: systemClock, timeoutMs, what: `waiting for ${what}` }, async (signal) => {
        for (;;) {
          const found = find(await this.#statuses());
          if (found !== undefined) return found;
          await sleep(systemClock, pollIntervalMs, signal);
        }
      });
    } catch (error) {
      throw new BlixardError("DEADLINE_EXCEEDED", `${what} did not come: ${messageOf(error)}\n${this.diagnostics()}`, {
        cause: error,
      });
    }
  }

  /** The last log lines of every node. */
  diagnostics(): string {
    return this.nodes.map((node) => `--- node ${node.id}\n${node.diagnostics()}`).join("\n");
  }

  /** Stops every node and removes their data. */
  async shutdown(): Promise<void> {
    this.heal();
    await Promise.all(this.nodes.map((node) => node.dispose()));
    this.#nodes.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  #othersThan(group: readonly number[]): number[] {
    return [...this.#nodes.keys()].filter((id) => !group.includes(id));
  }

  #followers(statuses: readonly NodeStatus[], leader: NodeStatus): number {
    const { endpointId } = this.node(leader.nodeId);
    return statuses.filter(
      ({ nodeId, leaderId, term }) =>
        leaderId === leader.nodeId && term === leader.term && !this.node(nodeId).isBlockedFrom(endpointId),
    ).length;
  }

  async #statuses(): Promise<NodeStatus[]> {
    const asked = this.nodes.filter((node) => node.isRunning()).map((node) => node.status());
    const answers = await Promise.allSettled(asked);
    return answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  }
}

function votes(status: NodeStatus, id: number): boolean {
  return status.role === "leader" && status.members.some((member) => member.id === id && member.role === "voter");
}
